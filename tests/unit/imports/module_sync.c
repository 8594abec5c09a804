/*
 * module_sync.c: locks, conditions and errno of goroutines that change threads.
 */
#include "module_test.h"

#include <ctype.h>
#include <link.h>
#include <locale.h>
#include <mqueue.h>
#include <pthread.h>
#include <search.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#define WORKERS 8
#define ROUNDS  200

struct shared {
    gr_waitgroup done;
    pthread_mutex_t mutex;
    pthread_rwlock_t rwlock;
    pthread_spinlock_t spin;
    pthread_cond_t cond;
    int inside, faults;
    long count;
    bool ready;
};

/* While it is in there it gives way, and must come back on the same thread, alone. */
static void critical(struct shared *shared)
{
    long thread = syscall(SYS_gettid);

    if (__atomic_add_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST) != 1)
        shared->faults++;
    shared->count++;
    gr_yield();
    for (int spin = 0; spin < 1000; spin++)
        __asm__ volatile("");
    if (syscall(SYS_gettid) != thread)
        shared->faults++;
    __atomic_sub_fetch(&shared->inside, 1, __ATOMIC_SEQ_CST);
}

static void mutex_worker(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < ROUNDS; i++) {
        if (pthread_mutex_lock(&shared->mutex) != 0)
            shared->faults++;
        /* Recursive: only the same goroutine may come in again. */
        if (pthread_mutex_lock(&shared->mutex) != 0)
            shared->faults++;
        critical(shared);
        pthread_mutex_unlock(&shared->mutex);
        pthread_mutex_unlock(&shared->mutex);
    }
    gr_waitgroup_done(&shared->done);
}

static void rwlock_worker(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < ROUNDS; i++) {
        pthread_rwlock_wrlock(&shared->rwlock);
        critical(shared);
        pthread_rwlock_unlock(&shared->rwlock);
    }
    gr_waitgroup_done(&shared->done);
}

static void spin_worker(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < ROUNDS; i++) {
        pthread_spin_lock(&shared->spin);
        critical(shared);
        pthread_spin_unlock(&shared->spin);
    }
    gr_waitgroup_done(&shared->done);
}

static int run_workers(struct shared *shared, void (*fn)(void *))
{
    gr_waitgroup_add(&shared->done, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        CHECK(gr_go(fn, shared) != 0);
    CHECK(gr_waitgroup_wait(&shared->done) == 0);
    CHECK(shared->faults == 0);
    CHECK(shared->count == WORKERS * ROUNDS);
    return 0;
}

static int mutex_excludes(const char *args)
{
    struct shared shared = {0};
    pthread_mutexattr_t attributes;

    (void)args;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    CHECK(pthread_mutex_init(&shared.mutex, &attributes) == 0);
    return run_workers(&shared, mutex_worker);
}
GR_ENTRY("mutex_excludes", mutex_excludes, "a recursive mutex among goroutines that yield in it");

static int rwlock_excludes(const char *args)
{
    struct shared shared = {.rwlock = PTHREAD_RWLOCK_INITIALIZER};

    (void)args;
    return run_workers(&shared, rwlock_worker);
}
GR_ENTRY("rwlock_excludes", rwlock_excludes, "a read-write lock");

static int spin_excludes(const char *args)
{
    struct shared shared = {0};

    (void)args;
    CHECK(pthread_spin_init(&shared.spin, PTHREAD_PROCESS_PRIVATE) == 0);
    return run_workers(&shared, spin_worker);
}
GR_ENTRY("spin_excludes", spin_excludes, "a spin lock");

static void cond_waker(void *arg)
{
    struct shared *shared = arg;

    usleep(1000);
    pthread_mutex_lock(&shared->mutex);
    shared->ready = true;
    pthread_cond_broadcast(&shared->cond);
    pthread_mutex_unlock(&shared->mutex);
    gr_waitgroup_done(&shared->done);
}

static int cond_wakes(const char *args)
{
    struct shared shared = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct timespec until;
    int result;

    (void)args;
    gr_waitgroup_add(&shared.done, 1);
    CHECK(gr_go(cond_waker, &shared) != 0);
    CHECK(pthread_mutex_lock(&shared.mutex) == 0);
    while (!shared.ready)
        CHECK(pthread_cond_wait(&shared.cond, &shared.mutex) == 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += until.tv_nsec > 980000000;
    until.tv_nsec = (until.tv_nsec + 20000000) % 1000000000;
    do {
        result = pthread_cond_timedwait(&shared.cond, &shared.mutex, &until);
    } while (result == 0);
    CHECK(result == ETIMEDOUT);
    CHECK(pthread_mutex_unlock(&shared.mutex) == 0);
    CHECK(gr_waitgroup_wait(&shared.done) == 0);
    return 0;
}
GR_ENTRY("cond_wakes", cond_wakes, "a condition of libc");

static void sem_poster(void *arg)
{
    struct helper *helper = arg;

    usleep(1000);
    sem_post(helper->data);
    gr_waitgroup_done(&helper->done);
}

static int sem_wakes(const char *args)
{
    struct helper helper = {0};
    sem_t sem;

    (void)args;
    CHECK(sem_init(&sem, 0, 0) == 0);
    helper.data = &sem;
    gr_waitgroup_add(&helper.done, 1);
    CHECK(gr_go(sem_poster, &helper) != 0);
    CHECK(sem_wait(&sem) == 0);
    CHECK(gr_waitgroup_wait(&helper.done) == 0);
    return 0;
}
GR_ENTRY("sem_wakes", sem_wakes, "a semaphore of libc");

static void *thread_body(void *arg)
{
    usleep(1000);
    return (char *)arg + 1;
}

static int threads_can_be_made(const char *args)
{
    pthread_t thread;
    void *value;

    (void)args;
    CHECK(pthread_create(&thread, NULL, thread_body, (void *)41) == 0);
    CHECK(pthread_join(thread, &value) == 0);
    CHECK(value == (void *)42);
    return 0;
}
GR_ENTRY("threads_can_be_made", threads_can_be_made, "pthread_create and pthread_join");

/* ---- errno ----------------------------------------------------------------------------------- */

static void errno_worker(void *arg)
{
    struct shared *shared = arg;
    uint64_t me = gr_id();

    for (int i = 0; i < ROUNDS; i++) {
        int mine = (int)(me % 100) + 1000;

        errno = mine;
        gr_yield();
        for (int spin = 0; spin < 2000; spin++)
            __asm__ volatile("");
        if (errno != mine)
            shared->faults++;
        if (close(-1) != -1 || errno != EBADF)
            shared->faults++;
        gr_yield();
        if (errno != EBADF)
            shared->faults++;
        shared->count += 0;
    }
    gr_waitgroup_done(&shared->done);
}

static int errno_is_the_goroutines(const char *args)
{
    struct shared shared = {0};

    (void)args;
    shared.count = WORKERS * ROUNDS;
    return run_workers(&shared, errno_worker);
}
GR_ENTRY("errno_is_the_goroutines", errno_is_the_goroutines, "errno follows a goroutine");

/* ---- Call-backs ------------------------------------------------------------------------------ */

static int compare_yielding(const void *a, const void *b)
{
    gr_yield();
    return *(const int *)a - *(const int *)b;
}

static int count_objects(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    (void)info;
    (void)bytes;
    for (int spin = 0; spin < 2000; spin++)
        __asm__ volatile("");
    ++*(int *)arg;
    return 0;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_runs;

static void once_body(void)
{
    once_runs++;
    usleep(1000);
}

static jmp_buf jump;

static int compare_jumping(const void *a, const void *b)
{
    (void)a;
    (void)b;
    longjmp(jump, 1);
}

static int call_backs(const char *args)
{
    int numbers[200], objects;

    (void)args;
    for (int i = 0; i < 200; i++)
        numbers[i] = i * 7919 % 211;
    qsort(numbers, 200, sizeof numbers[0], compare_yielding);
    for (int i = 1; i < 200; i++)
        CHECK(numbers[i - 1] <= numbers[i]);
    for (int i = 0; i < 20; i++) {
        objects = 0;
        CHECK(dl_iterate_phdr(count_objects, &objects) == 0 && objects >= 3);
    }
    CHECK(pthread_once(&once, once_body) == 0);
    CHECK(pthread_once(&once, once_body) == 0);
    CHECK(once_runs == 1);
    for (int i = 0; i < 200; i++) {
        if (setjmp(jump) == 0)
            qsort(numbers, 200, sizeof numbers[0], compare_jumping);
        gr_yield();
    }
    CHECK(isalpha('x') && !isalpha('1') && toupper('x') == 'X');
    return 0;
}
GR_ENTRY("call_backs", call_backs, "qsort, dl_iterate_phdr, pthread_once; out of them by longjmp");

/* ---- Blocking, for the cancellation test ----------------------------------------------------- */

int blocked_sync(const char *kind);
int blocked_sync(const char *kind)
{
    if (!strcmp(kind, "sem_wait")) {
        sem_t sem;

        sem_init(&sem, 0, 0);
        return sem_wait(&sem);
    }
    if (!strcmp(kind, "cond_wait")) {
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
        int result;

        pthread_mutex_lock(&mutex);
        while ((result = pthread_cond_wait(&cond, &mutex)) == 0)
            ;
        pthread_mutex_unlock(&mutex);
        errno = result;
        return -1;
    }
    if (!strcmp(kind, "fgets")) {
        char line[16];
        int fd[2], result;
        FILE *f;

        if (pipe(fd) != 0)
            return 0;
        f = fdopen(fd[0], "r");
        /* A line that does not end: the second wait is in the middle of it. */
        if (write(fd[1], "half", 4) != 4)
            return 0;
        errno = 0;
        result = fgets(line, sizeof line, f) ? 0 : -1;
        if (result == -1 && !ferror(f))
            errno = 0;
        int error = errno;
        fclose(f);
        close(fd[1]);
        errno = error;
        return result;
    }
    if (!strcmp(kind, "msgrcv")) {
        struct {
            long type;
            char text[8];
        } message;
        int id = msgget(IPC_PRIVATE, 0600), result, error;

        result = (int)msgrcv(id, &message, sizeof message.text, 0, 0);
        error = errno;
        msgctl(id, IPC_RMID, NULL);
        errno = error;
        return result;
    }
    if (!strcmp(kind, "waitpid")) {
        pid_t pid = fork();
        int result, error;

        if (pid == 0) {
            for (;;)
                pause();
        }
        result = waitpid(pid, NULL, 0);
        error = errno;
        kill(pid, 9);
        errno = error;
        return result;
    }
    if (!strcmp(kind, "pause"))
        return pause();
    if (!strcmp(kind, "sigtimedwait")) {
        const struct timespec long_time = {(time_t)1 << 62, 0}; /* as in far_deadlines_wait */
        sigset_t none;

        sigemptyset(&none);
        return sigtimedwait(&none, NULL, &long_time);
    }
    if (!strcmp(kind, "syscall_futex")) {
        static int word;
        long result;

        while ((result = syscall(SYS_futex, &word, 0, 0, NULL, NULL, 0)) == -1 && errno == EINTR)
            ;
        return (int)result;
    }
    if (!strcmp(kind, "syscall_ppoll"))
        return (int)syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
    return -3;
}
