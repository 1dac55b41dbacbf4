/* SPDX-License-Identifier: MIT */
/* The thread pool: workers spin a little for the next job, because a token is a few hundred jobs with short gaps, then sleep
 * on a condition variable. Tasks are handed out one by one from an atomic counter. */
#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* About 50 microseconds: longer than the gap between two jobs of one token, far shorter than a person notices. */
enum { SPINS = 4000, MAX_THREADS = 512 };

struct kq_pool {
    kq_allocator allocator;
    int n_threads; /* the caller's included */
    bool single_cpu; /* more threads than processors: spinning would only delay the others */
    pthread_mutex_t lock;
    pthread_cond_t work;
    _Atomic(uint32_t) job; /* generation: changes when there is a new job */
    _Atomic(bool) stop;
    _Atomic(int) sleeping;
    /* the job */
    void (*task)(void *ctx, size_t i, size_t worker);
    void *ctx;
    size_t n;
    _Alignas(64) _Atomic(size_t) next;
    _Alignas(64) _Atomic(int) busy; /* workers that have not finished this job */
    struct worker {
        kq_pool *pool;
        pthread_t thread;
        size_t index;
    } workers[];
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void run_tasks(kq_pool *pool, size_t worker) {
    for (size_t i; (i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed)) < pool->n;) pool->task(pool->ctx, i, worker);
}

static void wait_for_job(kq_pool *pool, uint32_t seen) {
    for (int i = 0; i < (pool->single_cpu ? 0 : SPINS); i++) {
        if (atomic_load_explicit(&pool->job, memory_order_acquire) != seen) return;
        relax();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleeping, 1);
    while (atomic_load(&pool->job) == seen) pthread_cond_wait(&pool->work, &pool->lock);
    atomic_fetch_sub(&pool->sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    kq_pool *pool = w->pool;
    for (uint32_t seen = 0;; seen++) { /* every job is waited for by all workers, so none is missed */
        wait_for_job(pool, seen);
        if (atomic_load(&pool->stop)) return NULL;
        run_tasks(pool, w->index);
        atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_release);
    }
}

static void announce(kq_pool *pool) {
    atomic_fetch_add(&pool->job, 1);
    if (atomic_load(&pool->sleeping) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
    }
}

void kq_pool_run(kq_pool *pool, size_t n, void (*task)(void *ctx, size_t i, size_t worker), void *ctx) {
    if (!pool || pool->n_threads == 1 || n <= 1) {
        for (size_t i = 0; i < n; i++) task(ctx, i, 0);
        return;
    }
    pool->task = task;
    pool->ctx = ctx;
    pool->n = n;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->busy, pool->n_threads - 1, memory_order_relaxed);
    announce(pool);
    run_tasks(pool, 0);
    for (int spins = 0; atomic_load_explicit(&pool->busy, memory_order_acquire) != 0; spins++) {
        if (pool->single_cpu || spins > SPINS) {
            usleep(20);
        } else {
            relax();
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
    pool->single_cpu = threads > cpus;
    if (pthread_mutex_init(&pool->lock, NULL)) {
        kq_free(&a, pool);
        return kq_fail(err, KQ_E_SYSTEM, "cannot make a mutex");
    }
    if (pthread_cond_init(&pool->work, NULL)) {
        pthread_mutex_destroy(&pool->lock);
        kq_free(&a, pool);
        return kq_fail(err, KQ_E_SYSTEM, "cannot make a condition variable");
    }
    for (int i = 0; i < threads - 1; i++) {
        pool->workers[i] = (struct worker){.pool = pool, .index = (size_t)i + 1};
        int reason = pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]);
        if (reason) {
            kq_pool_close(pool); /* joins those that started */
            return kq_fail(err, KQ_E_SYSTEM, "cannot start thread %d of %d: %s", i + 2, threads, strerror(reason));
        }
        pool->n_threads++;
    }
    *out = pool;
    return KQ_OK;
}

void kq_pool_close(kq_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    announce(pool);
    for (int i = 0; i < pool->n_threads - 1; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    kq_allocator a = pool->allocator;
    kq_free(&a, pool);
}

int kq_pool_threads(const kq_pool *pool) { return pool ? pool->n_threads : 1; }
