package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
	_ "unsafe" // for go:linkname
)

// The runtime's own suspendG/resumeG, reached by linkname. gstate mirrors the
// layout of runtime.suspendGState.
type gstate struct {
	g       uintptr
	dead    bool
	stopped bool
}

//go:linkname rtSuspendG runtime.suspendG
func rtSuspendG(gp uintptr) gstate

//go:linkname rtResumeG runtime.resumeG
func rtResumeG(st gstate)

//go:linkname rtSystemstack runtime.systemstack
//go:noescape
func rtSystemstack(fn func())

//go:linkname rtCasgstatus runtime.casgstatus
func rtCasgstatus(gp uintptr, from, to uint32)

//go:linkname nanotime runtime.nanotime
func nanotime() int64

func getg() uintptr

const (
	gRunning = 2
	gWaiting = 4
)

// Everything the system-stack function needs is in globals, so that it
// captures nothing and allocates nothing.
var (
	reqG, tgtG      uintptr
	holdNs          int64
	tsA, tsB, tsC   int64
	lastDead        bool
	lastStopped     bool
	spinProgress    uint64
	progressAtResum uint64
	spinStop        uint32
	sinkV           uint64
	kicks           int
)

// onSystemStack runs on g0. The requester's own goroutine is moved to
// _Gwaiting first (as the collector's workers do), because suspendG refuses
// to run on behalf of a goroutine that could not itself be preempted.
func onSystemStack() {
	rtCasgstatus(reqG, gRunning, gWaiting)
	tsA = nanotime()
	st := rtSuspendG(tgtG)
	tsB = nanotime()
	lastDead, lastStopped = st.dead, st.stopped
	progressAtResum = atomic.LoadUint64(&spinProgress)
	rtResumeG(st)
	tsC = nanotime()
	rtCasgstatus(reqG, gWaiting, gRunning)
}

var onSystemStackFn = onSystemStack

// spinTight: no calls, so no synchronous safe-point; only the signal stops it.
func spinTight(g *uintptr) {
	atomic.StoreUintptr(g, getg())
	for atomic.LoadUint32(&spinStop) == 0 {
		atomic.AddUint64(&spinProgress, 1)
	}
}

// callee has a frame large enough that the compiler must emit the stack-bound
// check in its prologue: a synchronous safe-point per call.
//
//go:noinline
func callee(x uint64) uint64 {
	var a [64]uint64
	a[x&63] = x
	return a[(x+1)&63] + x
}

func spinCalls(g *uintptr) {
	atomic.StoreUintptr(g, getg())
	var s uint64
	for atomic.LoadUint32(&spinStop) == 0 {
		s += callee(s)
		atomic.AddUint64(&spinProgress, 1)
	}
	sinkV = s
}

func waitG(g *uintptr) uintptr {
	for atomic.LoadUintptr(g) == 0 {
		runtime.Gosched()
	}
	return atomic.LoadUintptr(g)
}

// waitProgress waits until the target has run for a while since v. resumeG
// puts the target on the requester's own P, from where the other P must steal
// it; if that P went idle at the wrong moment nothing wakes it, so after a
// while a throw-away goroutine is spawned, which does (newproc calls wakep).
func waitProgress(v, d uint64) bool {
	t0 := nanotime()
	next := t0 + 300e3
	for atomic.LoadUint64(&spinProgress) < v+d {
		now := nanotime()
		if now-t0 > 5e9 {
			return false
		}
		if now > next {
			kicks++
			go func() {}()
			next = now + 1e6
		}
	}
	return true
}

func measureSuspend(name string, n int, tgt uintptr, spinning bool) {
	tgtG, reqG = tgt, getg()
	var susp, both, resum []float64
	notStopped := 0
	kicks = 0
	end := nanotime() + 20e9 // a budget: fewer samples on a busy machine
	for i := 0; i < n && nanotime() < end; i++ {
		if spinning {
			if !waitProgress(atomic.LoadUint64(&spinProgress), 50) {
				fmt.Fprintln(os.Stderr, name, "target makes no progress")
				break
			}
		}
		rtSystemstack(onSystemStackFn)
		if lastDead {
			fmt.Fprintln(os.Stderr, name, "target dead")
			break
		}
		if spinning {
			if !waitProgress(progressAtResum, 1) {
				break
			}
			resum = append(resum, float64(nanotime()-tsB))
			if !lastStopped {
				// caught it in another state (e.g. runnable): not this case
				notStopped++
				continue
			}
		}
		susp = append(susp, float64(tsB-tsA))
		both = append(both, float64(tsC-tsA))
	}
	emit("suspend_"+name, "ns", susp)
	emit("suspend_resume_"+name, "ns", both)
	if spinning {
		emit("resume_to_running_"+name, "ns", resum)
		if notStopped > 0 || kicks > 0 {
			fmt.Fprintf(os.Stderr, "%s: %d samples, %d excluded (caught while not running), %d wake-ups of an idle P\n", name, len(resum), notStopped, kicks)
		}
	}
}

func suspendBench(which string) {
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(2)
	n := scaled(20000, 20)
	suffix := ""
	if which == "sync" { // run under GODEBUG=asyncpreemptoff=1: prologue checks only
		suffix = "_synconly"
	}
	spin := func(name string, f func(*uintptr)) {
		var g uintptr
		done := make(chan struct{})
		atomic.StoreUint32(&spinStop, 0)
		go func() { f(&g); close(done) }()
		measureSuspend(name+suffix, n, waitG(&g), true)
		atomic.StoreUint32(&spinStop, 1)
		<-done
	}
	if which != "sync" {
		spin("spin_tight", spinTight)
	}
	spin("spin_calls", spinCalls)
	if which == "sync" {
		return
	}
	{
		var g uintptr
		ch, done := make(chan int), make(chan struct{})
		go func() { atomic.StoreUintptr(&g, getg()); <-ch; close(done) }()
		tg := waitG(&g)
		time.Sleep(5 * time.Millisecond)
		measureSuspend("blocked_chan", n, tg, false)
		ch <- 1
		<-done
	}
	{
		var g uintptr
		var p [2]int
		if err := syscall.Pipe(p[:]); err != nil {
			panic(err)
		}
		done := make(chan struct{})
		go func() {
			b := make([]byte, 1)
			atomic.StoreUintptr(&g, getg())
			syscall.Read(p[0], b) // raw descriptor: a real blocking system call
			close(done)
		}()
		tg := waitG(&g)
		time.Sleep(5 * time.Millisecond)
		measureSuspend("in_syscall", n, tg, false)
		syscall.Write(p[1], []byte{1})
		<-done
	}
}
