/* SPDX-License-Identifier: MIT */
/* Outputs that can be taken up again. The unfinished file has a name of its own, NAME.kq-part, and behind its last byte a journal, so
 * there is one file to lose and none to get out of step:
 *
 *   [0, total)   the output: header, then tensors in file order
 *   total        head:    u64 magic, u64 identity[2], u64 check
 *   + 32         records: u64 index, u64 bytes, u64 hash[2], f64 note[2], u64 check      one for each finished tensor, in order
 *
 * The identity covers what the caller gave (the source, the plan), the total and the bytes of the header, so a run that would make
 * another file finds nothing. A record counts only if its hash is that of the bytes that are in the file now: nothing needs to be
 * synced while the work goes on, and what a power cut tore is made again. All of it is outside data, but nothing in it is a
 * place or a length that would be believed: records are read at places that are known, and compared. */
#include "file/output.h"

#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct head {
    uint64_t magic, identity[2], check;
} head;
typedef struct record {
    uint64_t index, bytes, hash[2];
    double note[2];
    uint64_t check;
} record;
_Static_assert(sizeof(head) == 32 && sizeof(record) == 56, "no padding");

#define MAGIC UINT64_C(0x317472617020716b) /* "kq part1" */

struct kq_journal {
    XXH3_state_t hash; /* first of the header, then of each tensor */
    uint64_t total;
    uint64_t identity[2];
    uint64_t next;     /* index of the next tensor */
    bool started;      /* the header is whole */
    bool matches;      /* record `next` is worth a look */
    bool broken;       /* a record could not be written: none after it is */
};

static uint64_t check_of(const void *data, size_t size, const uint64_t identity[2]) { return XXH3_64bits_withSeed(data, size, identity[0]); }

static void hash_of(XXH3_state_t *state, uint64_t out[2]) {
    XXH128_hash_t h = XXH3_128bits_digest(state);
    out[0] = h.low64;
    out[1] = h.high64;
}

kq_status kq_journal_open(kq_output *o, kq_error *err) {
    o->journal = kq_alloc(&o->allocator, 1, sizeof *o->journal);
    if (!o->journal) return kq_fail_memory(err, sizeof *o->journal, "a journal");
    XXH3_128bits_reset(&o->journal->hash);
    return KQ_OK;
}

void kq_journal_close(kq_output *o) {
    if (o->journal) kq_free(&o->allocator, o->journal);
    o->journal = NULL;
}

void kq_journal_total(kq_output *o, uint64_t total) { o->journal->total = total; }
uint64_t kq_journal_total_of(const kq_output *o) { return o->journal->total; }
void kq_journal_header(kq_output *o, const void *data, size_t size) {
    if (!o->journal->started && size) XXH3_128bits_update(&o->journal->hash, data, size);
}
void kq_journal_bytes(kq_output *o, const void *data, size_t size) {
    if (size) XXH3_128bits_update(&o->journal->hash, data, size);
}

static bool read_at(int file, void *data, size_t size, uint64_t at) {
    uint8_t *to = data;
    while (size) {
        ssize_t n = pread(file, to, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        to += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

static bool write_at(int file, const void *data, size_t size, uint64_t at) {
    ssize_t n;
    do n = pwrite(file, data, size, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}

/* The header is whole: is the journal of the same work? If not, another begins. */
static void start(kq_output *o) {
    kq_journal *j = o->journal;
    uint64_t all[5] = {o->resume->identity[0], o->resume->identity[1], j->total};
    hash_of(&j->hash, all + 3);
    XXH128_hash_t identity = XXH3_128bits(all, sizeof all);
    j->identity[0] = identity.low64;
    j->identity[1] = identity.high64;
    j->started = true;
    head mine = {.magic = MAGIC, .identity = {j->identity[0], j->identity[1]}}, found;
    mine.check = check_of(&mine, offsetof(head, check), j->identity);
    j->matches = !o->resume->anew && read_at(o->file, &found, sizeof found, j->total) && memcmp(&found, &mine, sizeof mine) == 0;
    if (j->matches) return;
    j->broken = ftruncate(o->file, (off_t)j->total) || !write_at(o->file, &mine, sizeof mine, j->total);
}

static uint64_t place_of(const kq_journal *j) { return j->total + sizeof(head) + j->next * sizeof(record); } /* both are in a file's size */

/* Whether the bytes at `at`, as many as the tensor has, hash to what the record says. */
static bool bytes_are_there(kq_output *o, const record *r, uint64_t at) {
    XXH3_128bits_reset(&o->journal->hash);
    for (uint64_t left = o->bytes; left;) {
        size_t n = (size_t)KQ_MIN(left, (uint64_t)KQ_OUTPUT_BUFFER);
        if (!read_at(o->file, o->buffer, n, at)) return false;
        XXH3_128bits_update(&o->journal->hash, o->buffer, n);
        at += n;
        left -= n;
    }
    uint64_t hash[2];
    hash_of(&o->journal->hash, hash);
    return memcmp(hash, r->hash, sizeof hash) == 0;
}

kq_status kq_journal_next(kq_output *o, bool *kept, double note[2], kq_error *err) {
    kq_journal *j = o->journal;
    *kept = false;
    if (!j->started) start(o);
    record r;
    if (j->matches) {
        off_t at = lseek(o->file, 0, SEEK_CUR);
        *kept = at >= 0 && kq_within((uint64_t)at, o->bytes, j->total) && read_at(o->file, &r, sizeof r, place_of(j)) &&
                r.check == check_of(&r, offsetof(record, check), j->identity) && r.index == j->next && r.bytes == o->bytes &&
                bytes_are_there(o, &r, (uint64_t)at);
        if (*kept && lseek(o->file, (off_t)o->bytes, SEEK_CUR) < 0) {
            return kq_fail_at(err, KQ_E_IO, o->path, KQ_NO_OFFSET, "cannot seek: %s", strerror(errno));
        }
        j->matches = *kept;
    }
    if (*kept) {
        memcpy(note, r.note, sizeof r.note);
        j->next++;
    }
    XXH3_128bits_reset(&j->hash);
    return KQ_OK;
}

void kq_journal_done(kq_output *o, const double note[2]) {
    kq_journal *j = o->journal;
    record r = {.index = j->next, .bytes = o->bytes, .note = {note[0], note[1]}};
    hash_of(&j->hash, r.hash);
    r.check = check_of(&r, offsetof(record, check), j->identity);
    /* a disk that is full to the byte does not stop the work: it can only be taken up from before here */
    if (!j->broken) j->broken = !write_at(o->file, &r, sizeof r, place_of(j));
    j->next++;
}

bool kq_journal_is_of_use(const kq_output *o, bool before) { return o->journal->started ? o->journal->next > 0 : before; }
