/*
 * suspend.pml: the suspend protocol (core/suspend.c, core/sched.c, core/preempt.c) for spin 6.5.
 *
 * One 64-bit word per g: state | holds | generation. st[], h[], gen[] below are ONE word: they are only read or written
 * together inside an atomic or d_step, which stands for one load or one successful CAS. A CAS loop without side effect
 * between load and CAS equals one atomic step taken at the winning CAS, so it is written as one; where something is done
 * in between (guard reset, g->m, saving registers) the steps are separate. Critical sections under g->wait_lock that
 * touch the word once are one step (lock = right mover, unlock = left mover); the teller, which writes several records
 * that are read without the lock, holds it over several steps.
 *
 * Everything is bounded, so every execution must END with every process at its end: a lost poison, wake, resume or tell
 * is an "invalid end state". A loop with a safe-point blocks until it is poisoned (or until all suspenders are done), so
 * that a lost poison can't hide behind a later exit. -DLIVE builds the unbounded form with LTL under weak fairness.
 * Rejected: one step for each C statement (-DFINE has some of it): the same errors, a hundred times the states.
 *
 * Parameters: NG slots, NM threads, NS suspender threads, NIT suspends each, NGEN lives of a slot, NACT actions of a life;
 * -DTIMEOUT -DLEASE -DSIGNAL -DFOLD -DRETAKE -DG2G (goroutines suspend each other). Each -DM_... plants one fault; what
 * it breaks stands in configurations.txt, and a run of the tests must find it.
 *
 * Invariants asserted: I1 a told and held g takes no step of its own; I2 registers are saved before anybody is told;
 * I3 in a queue at most once; I4 one owner; I5 a suspension is released once; I6 a stale generation changes nothing;
 * I7 holds and waiter list are empty at birth; I8 at the end nothing is held, queued or waiting; I9 a stack is not moved
 * while the commit of its g's park still reads it.
 *
 * Not in here: spin is sequentially consistent (litmus.pml has the two store-buffer shapes); local queues, stealing and
 * spinning threads; wired and pinned goroutines; slice requests; refused signals.
 */
#ifndef NG
#define NG 1
#endif
#ifndef NM
#define NM 2
#endif
#ifndef NS
#define NS 2
#endif
#ifndef NIT
#define NIT 1
#endif
#ifndef NGEN
#define NGEN 2
#endif
#ifndef NACT
#define NACT 2
#endif
#define NW (NS+NG)      /* waiter records: one per suspender thread, one per goroutine */

#define IDLE 0
#define RUNNABLE 1
#define RUNNING 2
#define SYSCALL 3
#define WAITING 4
#define COPY 5
#define COPYW 6         /* copystack, and a wake came meanwhile */
#define PREEMPTED 7
#define DEAD 8
#define IS_STOPPED(s) (s==RUNNABLE || s==SYSCALL || s==WAITING || s==PREEMPTED)

#define R_NONE 0
#define R_PENDING 1
#define R_STOP 2
#define R_GONE 3
#define R_WITHDRAWN 4
#define R_RELEASED 5

byte st[NG], h[NG], gen[NG];                    /* the word */
byte wl[NG];  bit lk[NG];                       /* waiter list (bit mask) and its lock */
byte gm[NG];                                    /* g->m, written by the thread that dequeued g, before its CAS */
bit  reg[NG];                                   /* g stands in a channel's queue */
bit  folded[NG];
byte acts[NG], pcg[NG];                         /* the g's program: actions acts, where to go on */
byte rst[NW], rgen[NW], rtg[NW];                /* waiter record = suspension: state, generation, target */
bit  guard[NM], sema[NM], sig[NM];              /* poison, futex, signal_pending */
byte idle;                                      /* idle threads */
chan runq = [NG] of { byte };
byte ndone; byte nlive;
bit  g2g;                                       /* lock: goroutine-to-goroutine registration */
/* ghosts */
byte inq[NG], owner[NG], nact[NG];
bit  csched[NG], csys[NG], moving[NG];
#ifdef FOLD
byte cmt[NM];           /* m->committing: 1 + the g whose commit runs on this thread, which reads that g's stack */
#endif

/* -DFINE keeps steps apart that commute with everything (saving registers, reading g->m) */
#ifdef FINE
#define ATOM
#else
#define ATOM atomic
#endif
#ifdef LIVE
#define quiet false
#define DEC(v) skip
#else
#define quiet (ndone == NS)
#define DEC(v) v--
#endif
#define done  (nlive == 0)
#define BIT(i) (1<<(i))

/* push on a run queue, wake one idle thread: queue write, fence seq_cst, idle read */
inline ENQ(x) {
    atomic {
        assert(inq[x] == 0);                /* I3 */
#ifndef M_DOUBLE_ENQ
        assert(st[x] == RUNNABLE);
#endif
        inq[x]++; runq!x };
    d_step {                                /* idle list and futex, under the scheduler lock */
        if
        :: (idle & 1) -> idle = idle & ~1; sema[0] = 1
        :: !(idle & 1) && (idle & 2) -> idle = idle & ~2; sema[1] = 1
        :: else -> skip
        fi }
}

/* waiting -> runnable, held or not */
inline READY(x) {
    d_step {
        e_q = 0;
        if
#ifdef M_WAKE_DROPPED
        :: st[x] == WAITING && h[x] > 0 -> skip
        :: st[x] == WAITING && h[x] == 0 -> st[x] = RUNNABLE; e_q = 1
#else
        :: st[x] == WAITING -> st[x] = RUNNABLE; e_q = 1
#endif
#ifdef M_FOLD_WAKE
        :: st[x] == COPY -> skip
#else
        :: st[x] == COPY -> st[x] = COPYW
#endif
        :: else -> assert(false)
        fi };
    if :: e_q -> e_q = 0; ENQ(x) :: else -> skip fi
}

/* tell everybody who waits for x: idempotent, anybody may call it, at any later time */
inline TELL(x) {
    atomic {
        lk[x] == 0;
#ifdef M_TELL_BLIND
        t_m = wl[x]; wl[x] = 0;
#else
        if
        :: IS_STOPPED(st[x]) || st[x] == DEAD || st[x] == IDLE -> t_m = wl[x]; wl[x] = 0
        :: else -> t_m = 0      /* it was let go and runs again: whoever is on the list is for the next stop */
        fi;
#endif
        lk[x] = (t_m != 0) };
    do
    :: t_m != 0 ->
        atomic {
            t_i = 0;
            do :: !(t_m & BIT(t_i)) -> t_i++ :: else -> break od;
            t_m = t_m & ~BIT(t_i);
            assert(rst[t_i] == R_PENDING);
            if
            :: rgen[t_i] != gen[x] -> rst[t_i] = R_GONE
            :: else ->
                assert(IS_STOPPED(st[x]) && h[x] > 0);              /* I1: what is told is true */
                assert(csched[x] || (st[x] == SYSCALL && csys[x])); /* I2 */
                rst[t_i] = R_STOP; nact[x]++
            fi;
#ifndef G2G
            t_i = 0; lk[x] = (t_m != 0)
#endif
        };
#ifdef G2G
        if :: t_i >= NS -> READY(t_i - NS) :: else -> skip fi;
        atomic { t_i = 0; lk[x] = (t_m != 0) }
#endif
    :: t_m == 0 -> break
    od
}

/* holds-1; at 0 a preempted one becomes runnable in the same CAS, and only then is queued */
inline RELEASE(x, mg) {
    d_step {
        e_q = 0;
        if
#ifndef M_NO_GEN
        :: gen[x] != mg -> skip         /* gone */
        :: gen[x] == mg ->
#else
        :: true ->
            assert(gen[x] == mg);       /* I6 */
#endif
            assert(h[x] > 0); h[x]--;
            if
#ifdef M_RESUME_NOSTATE
            :: h[x] == 0 && st[x] != RUNNING -> st[x] = RUNNABLE; e_q = 1
#else
#ifdef M_DOUBLE_ENQ
            :: h[x] == 0 && st[x] == RUNNABLE -> e_q = 1
#endif
            :: h[x] == 0 && st[x] == PREEMPTED -> st[x] = RUNNABLE; e_q = 1
#endif
            :: else -> skip
            fi
        fi };
    if :: e_q -> e_q = 0; ENQ(x) :: else -> skip fi
}

/* holds+1. v: R_GONE, R_STOP (told at once) or R_PENDING (request must go out) */
inline ADD_HOLD(w, x) {
    if
#ifndef M_NO_GEN
    :: gen[x] != rgen[w] || st[x] == DEAD || st[x] == IDLE -> rst[w] = R_GONE
    :: else ->
#else
    :: st[x] == DEAD || st[x] == IDLE -> rst[w] = R_GONE
    :: else -> assert(gen[x] == rgen[w]);
#endif
        h[x]++;
        if
        :: IS_STOPPED(st[x]) -> rst[w] = R_STOP; nact[x]++;
            assert(csched[x] || (st[x] == SYSCALL && csys[x]))
        :: else -> rst[w] = R_PENDING
        fi
    fi
}

/* under x's wait lock: re-read the word, then push or settle at once */
inline PUSH(w, x) {
    if
#ifdef M_PUSH_BLIND
    :: true -> wl[x] = wl[x] | BIT(w)
#else
    :: gen[x] != rgen[w] -> rst[w] = R_GONE
    :: gen[x] == rgen[w] && IS_STOPPED(st[x]) -> rst[w] = R_STOP; nact[x]++;
        assert(csched[x] || (st[x] == SYSCALL && csys[x]))
    :: else -> wl[x] = wl[x] | BIT(w)
#endif
    fi
}

proctype M(byte me)
{
    byte g, w, t_m, t_i, x; bit e_q;

sched:
    atomic { if :: (len(runq) > 0) -> runq?g; inq[g]--; goto got :: (len(runq) == 0) fi };
    idle = idle | BIT(me);
#ifndef M_IDLE_BLIND
    atomic { if
             :: (len(runq) > 0) && (idle & BIT(me)) -> idle = idle & ~BIT(me); goto sched
             :: else -> skip fi };
#endif
    atomic { (sema[me] || done) -> if :: sema[me] -> sema[me] = 0; goto sched :: else -> goto finish fi };

got:
    ATOM {
#ifndef M_RESET_LATE
        guard[me] = 0;                      /* A1: before the CAS to running */
#endif
        gm[g] = me };
#ifdef FOLD
    if
    :: folded[g] ->
        d_step { if :: h[g] > 0 -> st[g] = PREEMPTED; w = 0
                    :: else -> st[g] = COPY; w = 1 fi };
        if :: w == 0 -> g = 0; goto sched :: else -> skip fi;
        moving[g] = 1;
        d_step { moving[g] = 0; folded[g] = 0 };
        d_step { if :: h[g] > 0 -> st[g] = PREEMPTED; w = 0
                    :: else -> st[g] = RUNNING; csched[g] = 0; owner[g]++; assert(owner[g] == 1); w = 1 fi };
        if :: w == 0 -> TELL(g); g = 0; goto sched :: else -> goto entered fi
    :: else -> skip
    fi;
#endif
#ifdef M_DEQ_CTA
    w = (h[g] == 0);
    d_step { if :: w == 0 -> st[g] = PREEMPTED :: w && h[g] > 0 -> st[g] = PREEMPTED; w = 0 :: else -> st[g] = RUNNING; csched[g] = 0; owner[g]++ fi };
#else
    d_step {
        assert(st[g] == RUNNABLE);
        if
#ifndef M_EXEC_BLIND
        :: h[g] > 0 -> st[g] = PREEMPTED; w = 0
#endif
        :: else -> st[g] = RUNNING; csched[g] = 0; owner[g]++; assert(owner[g] == 1 && nact[g] == 0); w = 1
        fi };
#endif
    if :: w == 0 ->
#ifdef M_DOUBLE_ENQ
        st[g] = RUNNABLE; ENQ(g);           /* the held one goes back on the queue as well */
#endif
        g = 0; goto sched
       :: else -> skip fi;
#ifdef M_RESET_LATE
    guard[me] = 0;
#endif
entered:
    w = 0;
go_on:
    atomic { assert(nact[g] == 0 && st[g] == RUNNING && owner[g] == 1); /* I1, I4 */
    if
#ifdef G2G
    :: pcg[g] == 0 -> goto gsuspend
    :: pcg[g] == 1 -> goto gresult
    :: pcg[g] == 2 -> goto gholds
    :: pcg[g] == 3 -> goto gexit
#else
    :: acts[g] > 0 -> DEC(acts[g]); goto spin
    :: acts[g] > 0 -> DEC(acts[g]); goto yield
    :: acts[g] > 0 -> DEC(acts[g]); goto block
    :: acts[g] > 0 -> DEC(acts[g]); goto syscall
#ifdef SIGNAL
    :: acts[g] > 0 -> DEC(acts[g]); goto tight
#endif
#ifndef LIVE
    :: goto gexit
#endif
#endif
    fi };

spin:       /* a loop with a prologue check */
    atomic { (guard[me] || quiet) -> assert(nact[g] == 0); if :: guard[me] :: else -> goto go_on fi };
#ifdef M_NO_RECHECK
    w = h[g];
    guard[me] = 0;
#else
    guard[me] = 0;                          /* A2: reset, fence seq_cst, re-read the word */
    w = h[g];
#endif
    if :: w == 0 -> goto spin :: else -> w = 0 fi;
park:       /* on g0 */
    ATOM {
#ifndef M_EARLY_TELL
    csched[g] = 1;                          /* registers saved */
#endif
#ifdef M_PARK_BLIND
    d_step { st[g] = PREEMPTED; owner[g]--; w = 1 };
#else
    d_step { if :: h[g] > 0 -> st[g] = PREEMPTED; owner[g]--; w = 1
                :: else -> csched[g] = 0; w = 0 fi };
#endif
    };
    if :: w == 0 -> goto go_on :: else -> skip fi;
    w = 0;
    TELL(g);
#ifdef M_EARLY_TELL
    csched[g] = 1;
#endif
    g = 0; goto sched;

#ifdef SIGNAL
tight:      /* a loop without calls: only the signal stops it */
    atomic { (sig[me] || quiet) -> if :: sig[me] :: else -> goto go_on fi };
    sig[me] = 0;                            /* signal_pending cleared, then the handler re-reads the word */
#ifdef HANDLER_BLIND
    goto park;                              /* harmless: park re-reads the word */
#else
    if :: h[g] > 0 -> goto park :: else -> goto tight fi;
#endif
#endif

#ifndef G2G
yield:
    ATOM {
    csched[g] = 1;
    d_step { owner[g]--; if :: h[g] > 0 -> st[g] = PREEMPTED; w = 1
                :: else -> st[g] = RUNNABLE; w = 0 fi } };
    if :: w -> w = 0; TELL(g) :: else -> ENQ(g) fi;
    g = 0; goto sched;

block:
#ifdef FOLD
    cmt[me] = g + 1;                        /* before the CAS: who sees WAITING sees it, or what came after */
#endif
    ATOM {
    csched[g] = 1;
    d_step { st[g] = WAITING; owner[g]--; w = (h[g] > 0) } };
#ifdef FOLD
    d_step { assert(!moving[g] && !folded[g]);  /* I9: commit reads g's stack */
             reg[g] = 1 };
    cmt[me] = 0;
#else
    reg[g] = 1;                             /* unlock the channel: from now on a waker finds g */
#endif
    if :: w -> w = 0; TELL(g) :: else -> skip fi;
    g = 0; goto sched;

syscall:
    ATOM {
    csys[g] = 1;
    d_step { if
#ifndef ENTRY_TELL
             :: h[g] > 0 -> csys[g] = 0; w = 1
             :: else -> st[g] = SYSCALL; owner[g]--; w = 0
#else
             :: true -> st[g] = SYSCALL; owner[g]--; w = (h[g] > 0)
#endif
             fi } };
#ifdef ENTRY_TELL
    if :: w -> w = 0; TELL(g) :: else -> skip fi;
    skip;
#else
    if :: w -> w = 0; goto park :: else -> skip fi; /* held: stop before the system call begins (then skip it) */
#endif
    /* ... kernel ... */
#ifdef M_SYSEXIT_CTA
    w = (h[g] > 0);
    d_step { if :: w == 0 -> st[g] = RUNNING; csys[g] = 0; owner[g]++ :: else -> skip fi };
#else
#ifdef RETAKE
    if :: goto noproc :: true fi;
#endif
    d_step { if :: h[g] == 0 -> st[g] = RUNNING; csys[g] = 0; owner[g]++; assert(owner[g] == 1); w = 0
                :: else -> w = 1 fi };
#endif
    if :: w == 0 -> goto go_on :: else -> skip fi;
#ifdef RETAKE
noproc:
#endif
#ifdef M_SINGLE_CTX
    csys[g] = 0;                            /* mcall overwrites the context that a holder reads */
    csys[g] = 1;
#endif
    ATOM {
    csched[g] = 1;                          /* second context: the one of the system call stays as it is */
    atomic { if :: h[g] > 0 -> st[g] = PREEMPTED; w = 1
                :: h[g] == 0 -> st[g] = RUNNING; csys[g] = 0; csched[g] = 0; owner[g]++; w = 0
#ifdef RETAKE
                :: h[g] == 0 -> st[g] = RUNNABLE; csys[g] = 0; w = 2    /* lost its processor meanwhile */
#endif
             fi } };
    if :: w == 0 -> goto go_on :: w == 1 -> skip :: w == 2 -> ENQ(g) fi;
    w = 0;
    g = 0; goto sched;
#endif

#ifdef G2G
gsuspend:   /* goroutine g suspends its neighbour */
    x = (g + 1) % NG;
    rgen[NS+g] = gen[x];
#ifdef M_G2G_NOLOCK
    w = (h[g] > 0);
    if :: w -> w = 0; x = 0; goto park :: else -> skip fi;
    d_step { ADD_HOLD(NS+g, x) };
#else
    /* one lock around {own word is unheld, CAS the other's holds+1} */
    atomic { g2g == 0 -> g2g = 1 };
#ifndef M_G2G_NOCHECK
    w = (h[g] > 0);
    if :: w -> d_step { g2g = 0; w = 0; x = 0 }; goto park :: else -> skip fi;
#endif
    d_step { ADD_HOLD(NS+g, x) };
    g2g = 0;
#endif
    if
    :: rst[NS+g] != R_PENDING -> pcg[g] = 1; x = 0; goto go_on
    :: else -> skip
    fi;
    guard[gm[x]] = 1;
    pcg[g] = 1;
    /* it watches for a moment before it parks: under the list's lock, stopped or gone, without a push */
    if
    :: atomic { lk[x] == 0 && (gen[x] != rgen[NS+g] || IS_STOPPED(st[x])) -> PUSH(NS+g, x) };
       x = 0; goto go_on
    :: skip
    fi;
    ATOM {
    csched[g] = 1;
    d_step { st[g] = WAITING; owner[g]--; w = (h[g] > 0) } };
    if :: w -> w = 0; TELL(g) :: else -> skip fi;
    /* still on g0: the record is pushed only after the caller is waiting, so that telling may ready it */
    atomic { lk[x] == 0 -> PUSH(NS+g, x); w = (rst[NS+g] != R_PENDING) };
    if :: w -> w = 0; x = g; READY(x) :: else -> skip fi;
    d_step { g = 0; x = 0 }; goto sched;
gresult:
    if :: rst[NS+g] == R_STOP -> pcg[g] = 2 :: else -> assert(rst[NS+g] == R_GONE || rst[NS+g] == R_WITHDRAWN); pcg[g] = 3 fi;
    goto go_on;
gholds:     /* holds the other; may itself be stopped meanwhile (poll once) */
    x = (g + 1) % NG;
    assert(csched[x] && IS_STOPPED(st[x]) && gen[x] == rgen[NS+g]);
    if :: guard[me] -> guard[me] = 0; w = h[g]; if :: w -> w = 0; x = 0; goto park :: else -> skip fi :: else -> skip fi;
    d_step { assert(rst[NS+g] == R_STOP); rst[NS+g] = R_RELEASED; nact[x]--; pcg[g] = 3 };
    RELEASE(x, rgen[NS+g]);
    x = 0;
    goto go_on;
#endif

gexit:      /* on g0: dead, holds 0, generation+1 in one CAS */
    atomic { csched[g] = 1; w = (h[g] > 0); st[g] = DEAD; owner[g]--; gen[g]++;
#ifndef M_EXIT_KEEPS
        h[g] = 0
#endif
    };
#ifndef M_EXIT_FORGETS
    if :: w -> w = 0; TELL(g) :: else -> skip fi;
#endif
    /* only now is the slot free; it may be born again */
    if
    :: gen[g] < NGEN ->
        d_step { assert(h[g] == 0 && wl[g] == 0 && nact[g] == 0); /* I7 */
                 st[g] = RUNNABLE; acts[g] = NACT; pcg[g] = 0; reg[g] = 0; folded[g] = 0; w = 0 };
        ENQ(g)
    :: else -> d_step { w = 0; nlive-- }
    fi;
    g = 0; goto sched;
finish:
    skip
}

proctype Suspender(byte id)
{
    byte i, w; bit e_q; byte tm;
#ifdef LIVE
    do :: true ->
#else
    for (i : 1 .. NIT) {
#endif
        d_step { rst[id] = R_NONE; rgen[id] = gen[0] };     /* somebody gave us (slot, generation), maybe long ago */
        ATOM {
#ifdef RIDE
        w = (h[0] > 0);
#endif
        d_step { ADD_HOLD(id, 0) };
        tm = gm[0] };
        if
        :: rst[id] == R_PENDING ->
#ifdef RIDE
            if :: w == 0 -> guard[tm] = 1 :: else -> w = 0 fi;  /* variant: only the first holder asks */
#else
            guard[tm] = 1;                                  /* poison: maybe by now another g runs there */
#endif
            atomic { lk[0] == 0 -> PUSH(id, 0) };
            if
            :: rst[id] != R_PENDING                         /* futex */
#ifdef TIMEOUT
#ifdef TFIRST
            :: i < NIT ->                                   /* the last suspend waits for ever: a lost request hangs */
#else
            :: true ->
#endif
#ifdef M_WITHDRAW_CTA
                w = (rst[id] == R_PENDING);
                if :: w -> w = 0; d_step { wl[0] = wl[0] & ~BIT(id); rst[id] = R_WITHDRAWN }; RELEASE(0, rgen[id])
                   :: else -> skip fi
#else
#ifdef M_RELEASE_FIRST
                w = (rst[id] == R_PENDING);
                if :: w -> w = 0; RELEASE(0, rgen[id]) ;
                      atomic { lk[0] == 0 -> if :: rst[id] == R_PENDING -> wl[0] = wl[0] & ~BIT(id); rst[id] = R_WITHDRAWN :: else -> skip fi }
                   :: else -> skip fi
#else
                atomic { lk[0] == 0 ->
                    if :: rst[id] == R_PENDING -> wl[0] = wl[0] & ~BIT(id); rst[id] = R_WITHDRAWN; w = 1
                       :: else -> w = 0 fi };
                if :: w -> w = 0; RELEASE(0, rgen[id]) :: else -> skip fi
#endif
#endif
#endif
            fi
        :: else -> skip
        fi;
        tm = 0;
        if
        :: rst[id] == R_STOP || rst[id] == R_RELEASED ->    /* (the lease may already have ended it) */
            /* read: which context is told by the state; the state may move on meanwhile, the context must stay */
            w = st[0];
            atomic { if :: rst[id] == R_STOP ->
                        assert(gen[0] == rgen[id] && h[0] > 0 && !moving[0] && w != RUNNING);
                        assert((w == SYSCALL && csys[0]) || (w != SYSCALL && csched[0]))
                     :: else -> skip fi; w = 0 };
            d_step { if :: rst[id] == R_STOP -> rst[id] = R_RELEASED; nact[0]--; w = 1      /* I5: CAS */
                        :: else -> w = 0 fi };
#ifdef M_LEASE_NOCAS
            w = 1;
#endif
            if :: w -> w = 0; RELEASE(0, rgen[id]) :: else -> skip fi
        :: else -> skip
        fi
#ifdef LIVE
    :: true -> break            /* or never asks again: nobody else then mends what was lost */
    od
#else
    };
    ndone++
#endif
}

#ifdef G2GTIMER
/* deadline of goroutine 0's own suspend of goroutine 1: armed when the record is pushed */
proctype Timer()
{
    bit e_q; byte mg;
    atomic { ((lk[1] == 0 && rst[NS] == R_PENDING && (wl[1] & BIT(NS))) || done) ->
        if :: done -> mg = 255 :: else -> wl[1] = wl[1] & ~BIT(NS); rst[NS] = R_WITHDRAWN; mg = rgen[NS] fi };
    if :: mg != 255 -> RELEASE(1, mg); READY(0) :: else -> skip fi
}
#endif

#ifdef LEASE
proctype Lease()
{
    bit e_q; byte w;
    atomic { (rst[0] == R_STOP || quiet) ->
        if :: rst[0] == R_STOP -> rst[0] = R_RELEASED; nact[0]--; w = 1 :: else -> skip fi };
    if :: w -> w = 0; RELEASE(0, rgen[0]) :: else -> skip fi
}
#endif

proctype Waker()
{
    bit e_q;
end:
    do
    :: atomic { reg[0] -> reg[0] = 0 }; READY(0)
#if NG > 1
    :: atomic { reg[1] -> reg[1] = 0 }; READY(1)
#endif
    :: done -> break
    od
}

#ifdef SIGNAL
proctype Monitor()
{
    byte tm;
end:
    do
    :: atomic { st[0] == RUNNING && h[0] > 0 && !sig[gm[0]] -> tm = gm[0] }; sig[tm] = 1; tm = 0
    :: done -> break
    od
}
#endif

#ifdef FOLD
proctype Folder()
{
    byte t_m, t_i, w; bit e_q; byte n;
    for (n : 1 .. 2) {
        atomic { ((st[0] == WAITING && h[0] == 0 && !folded[0]) || done) ->
            if :: done -> w = 0 :: else -> st[0] = COPY; w = 1 fi };
        if
        :: w ->
#ifndef M_FOLD_COMMIT
            if :: cmt[gm[0]] == 1 -> goto leave :: else -> skip fi;
#endif
            if                      /* folded, or only the pages below SP given back, which hold nothing */
            :: moving[0] = 1; d_step { moving[0] = 0; folded[0] = 1 }
            :: skip
            fi;
leave:
            skip;
            d_step { if :: st[0] == COPYW -> st[0] = RUNNABLE; e_q = 1 :: else -> st[0] = WAITING; e_q = 0 fi;
                     w = (h[0] > 0) };
            if :: e_q -> e_q = 0; ENQ(0) :: else -> skip fi;
#ifndef M_FOLD_NOTELL
            if :: w -> w = 0; TELL(0) :: else -> skip fi
#endif
        :: else -> skip
        fi;
        w = 0
    }
}
#endif

init {
    byte i;
    atomic {
        nlive = NG;
        for (i : 0 .. NG-1) { st[i] = RUNNABLE; csched[i] = 1; acts[i] = NACT; inq[i] = 1; runq!i };
        for (i : 0 .. NM-1) { run M(i) };
        i = 0;
        do :: i < NS -> run Suspender(i); i++ :: else -> break od;
        i = 0;
#ifndef G2G
        run Waker();
#endif
#ifdef G2GTIMER
        run Timer();
#endif
#ifdef LEASE
        run Lease();
#endif
#ifdef SIGNAL
        run Monitor();
#endif
#ifdef FOLD
        run Folder();
#endif
    };
    (_nr_pr == 1);
    assert(h[0] == 0 && wl[0] == 0 && inq[0] == 0 && nact[0] == 0 && ndone == NS)   /* I8 */
}

#ifdef LIVE
/* every request ends; whoever is runnable and unheld runs (or is held again); whoever is preempted and unheld does not
 * stay so; a wake is not lost */
ltl told   { [] ((rst[0] == R_PENDING) -> <> (rst[0] != R_PENDING)) }
ltl runs   { [] ((st[0] == RUNNABLE && h[0] == 0) -> <> (st[0] == RUNNING || h[0] > 0)) }
ltl resume { [] ((st[0] == PREEMPTED) -> <> (st[0] == RUNNING || h[0] > 0)) }
ltl wake   { [] ((st[0] == WAITING) -> <> (st[0] != WAITING)) }
#endif
