/* SPDX-License-Identifier: MIT */
/* The thread pool. A job is open to every thread but waits for none: threads claim its tasks one by one, and it is over when its
 * tasks are done. So a worker that the system is not running just now, on a machine that is busy with something else, holds
 * nobody up unless it went off in the middle of a task: where each job waited for every worker, two threads on a loaded pair of
 * processors told a story twenty times slower than one.
 *
 * Each thread claims from its own share of the tasks first, which is a run of neighbours. Where threads took turns along one run, each of them
 * began another stretch of memory with every task, before prefetchers knew of it: q4_0 times one row was read at 81 % of the bandwidth of
 * two threads, and is at 93 %.
 *
 * Workers spin a little for the next job, because a token is a few hundred jobs with short gaps, then sleep on a condition variable. */
#define _GNU_SOURCE /* sched_yield */
#include "base/base.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* About 50 microseconds: longer than the gap between two jobs of one token, far shorter than a person notices. */
enum { SPINS = 4000, MAX_THREADS = 512 };

struct kq_pool {
    kq_allocator allocator;
    int n_threads; /* the caller's included */
    bool crowded;  /* more threads than processors: spinning would only delay the others */
    pthread_mutex_t lock;
    pthread_cond_t work;
    _Atomic(bool) stop;
    _Atomic(int) sleeping;
    /* The job. These two are written before its ticket and not again before its tasks are done, so whoever has claimed a
     * task may read them. */
    void (*task)(void *ctx, size_t i, size_t worker);
    void *ctx;
    _Alignas(64) _Atomic(uint32_t) job; /* its number, told when all its tickets lie there */
    _Alignas(64) _Atomic(size_t) left;  /* tasks that are not done */
    /* A thread's share of the job: tasks that lie beside each other, so that it reads one stretch of memory from end to end. Its ticket is the
     * number of the job (upper half) and of the tasks that nobody has claimed (lower half): a claim takes one off. Who comes too late
     * fails to claim, because the number of the job has changed. Who has done its own share helps with the others'. */
    struct worker {
        _Alignas(64) _Atomic(uint64_t) ticket;
        size_t end; /* of its tasks; written like `task` */
        kq_pool *pool;
        pthread_t thread;
        size_t index;
    } workers[]; /* the caller's is the first */
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Does tasks of one share while there are any. */
static void run_share(kq_pool *pool, struct worker *share, size_t worker) {
    uint64_t ticket = atomic_load_explicit(&share->ticket, memory_order_acquire);
    while ((uint32_t)ticket != 0) {
        if (!atomic_compare_exchange_weak_explicit(&share->ticket, &ticket, ticket - 1, memory_order_acq_rel, memory_order_acquire)) continue;
        pool->task(pool->ctx, share->end - (uint32_t)ticket, worker);
        atomic_fetch_sub_explicit(&pool->left, 1, memory_order_acq_rel);
        ticket = atomic_load_explicit(&share->ticket, memory_order_acquire);
    }
}

/* Does tasks of the open job while there are any. Returns the number of the job that has none. */
static uint32_t run_tasks(kq_pool *pool, size_t worker) {
    uint32_t job = atomic_load(&pool->job);
    size_t n = (size_t)pool->n_threads;
    for (size_t i = 0; i < n; i++) run_share(pool, &pool->workers[(worker + i) % n], worker);
    return job;
}

static bool same_job(kq_pool *pool, uint32_t job) { return atomic_load(&pool->job) == job && !atomic_load(&pool->stop); }

static void wait_for_job(kq_pool *pool, uint32_t seen) {
    for (int i = 0; i < (pool->crowded ? 0 : SPINS); i++) {
        if (!same_job(pool, seen)) return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleeping, 1);
    while (same_job(pool, seen)) pthread_cond_wait(&pool->work, &pool->lock);
    atomic_fetch_sub(&pool->sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    kq_pool *pool = w->pool;
    for (uint32_t job = 0; !atomic_load(&pool->stop); job = run_tasks(pool, w->index)) wait_for_job(pool, job);
    return NULL;
}

/* After a change of job or stop: a worker either sees it before it sleeps or is counted in `sleeping` by now. */
static void wake(kq_pool *pool) {
    if (atomic_load(&pool->sleeping) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
    }
}

static void run_job(kq_pool *pool, size_t n, void (*task)(void *ctx, size_t i, size_t worker), void *ctx) {
    pool->task = task;
    pool->ctx = ctx;
    atomic_store_explicit(&pool->left, n, memory_order_relaxed);
    uint32_t job = atomic_load_explicit(&pool->job, memory_order_relaxed) + 1;
    size_t shares = (size_t)pool->n_threads, end = 0;
    for (size_t i = 0; i < shares; i++) {
        size_t count = n / shares + (i < n % shares);
        pool->workers[i].end = end += count;
        atomic_store_explicit(&pool->workers[i].ticket, (uint64_t)job << 32 | count, memory_order_release);
    }
    atomic_store(&pool->job, job);
    wake(pool);
    run_tasks(pool, 0);
    for (int spins = 0; atomic_load_explicit(&pool->left, memory_order_acquire) != 0; spins++) {
        if (pool->crowded || spins > SPINS) {
            sched_yield();
        } else {
            relax();
        }
    }
}

/* Tasks of a job that is cut in pieces keep their own numbers. */
typedef struct piece {
    void (*task)(void *ctx, size_t i, size_t worker);
    void *ctx;
    size_t first;
} piece;

static void piece_task(void *ctx, size_t i, size_t worker) {
    const piece *p = ctx;
    p->task(p->ctx, p->first + i, worker);
}

void kq_pool_run(kq_pool *pool, size_t n, void (*task)(void *ctx, size_t i, size_t worker), void *ctx) {
    if (!pool || pool->n_threads == 1 || n <= 1) {
        for (size_t i = 0; i < n; i++) task(ctx, i, 0);
    } else if (n <= UINT32_MAX) {
        run_job(pool, n, task, ctx);
    } else {
        for (size_t first = 0; first < n; first += UINT32_MAX) {
            run_job(pool, KQ_MIN(n - first, UINT32_MAX), piece_task, &(piece){task, ctx, first});
        }
    }
}

kq_status kq_pool_open(kq_pool **out, int threads, const kq_allocator *allocator, kq_error *err) {
    if (!out) return kq_fail(err, KQ_E_ARGUMENT, "kq_pool_open: out is NULL");
    *out = NULL;
    if (threads < 0 || threads > MAX_THREADS) return kq_fail(err, KQ_E_ARGUMENT, "threads is %d, must be 0 to %d", threads, MAX_THREADS);
    int cpus = kq_cpu_count();
    if (threads == 0) threads = KQ_MIN(cpus, MAX_THREADS);
    kq_allocator a = kq_allocator_of(allocator);
    size_t bytes = sizeof(kq_pool) + (size_t)threads * sizeof(struct worker);
    kq_pool *pool = kq_alloc(&a, 1, bytes);
    if (!pool) return kq_fail_memory(err, bytes, "a thread pool");
    pool->allocator = a;
    pool->n_threads = 1;
    pool->crowded = threads > cpus;
    if (pthread_mutex_init(&pool->lock, NULL)) {
        kq_free(&a, pool);
        return kq_fail(err, KQ_E_SYSTEM, "cannot make a mutex");
    }
    if (pthread_cond_init(&pool->work, NULL)) {
        pthread_mutex_destroy(&pool->lock);
        kq_free(&a, pool);
        return kq_fail(err, KQ_E_SYSTEM, "cannot make a condition variable");
    }
    for (int i = 1; i < threads; i++) {
        struct worker *w = &pool->workers[i];
        w->pool = pool;
        w->index = (size_t)i;
        int reason = pthread_create(&w->thread, NULL, worker_main, w);
        if (reason) {
            kq_pool_close(pool); /* joins those that started */
            return kq_fail(err, KQ_E_SYSTEM, "cannot start thread %d of %d: %s", i + 1, threads, strerror(reason));
        }
        pool->n_threads++;
    }
    *out = pool;
    return KQ_OK;
}

void kq_pool_close(kq_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    wake(pool);
    for (int i = 1; i < pool->n_threads; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    kq_allocator a = pool->allocator;
    kq_free(&a, pool);
}

int kq_pool_threads(const kq_pool *pool) { return pool ? pool->n_threads : 1; }
