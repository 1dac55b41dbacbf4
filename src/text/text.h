/* SPDX-License-Identifier: MIT */
/* text owns: tokenizers (vocabulary, special tokens, pre-tokenizer patterns, the two merge algorithms) and the way back from
 * ids to text. The rules, with their reasons, are in docs/tokenizers.md.
 * It may include: base file.
 *
 * The way of a text: partition.c cuts out special tokens; what is left goes, fragment by fragment, through prepare.c (UTF-8 made
 * canonical, one byte of class for every code point), pretokenize.c (pieces) and bpe.c, or straight to spm.c; merge.c is the
 * loop that both share. detokenize.c goes back. */
#ifndef KQ_TEXT_H
#define KQ_TEXT_H

#include "base/base.h"

#include <kquant/text.h>

enum {
    KQ_TEXT_MAX_BYTES = 1 << 30,      /* of one text to encode */
    KQ_VOCAB_MAX_TOKENS = 1 << 24,
    KQ_VOCAB_MAX_TOKEN = 65535,       /* bytes of one token's text */
    KQ_VOCAB_MAX_PIECE = 1 << 20,     /* bytes that one id may print */
};

/* ---- unicode.c ---------------------------------------------------------------------------------------------------- */

typedef enum kq_class { KQ_CLASS_N, KQ_CLASS_L, KQ_CLASS_P, KQ_CLASS_M, KQ_CLASS_S, KQ_CLASS_OTHER, KQ_CLASS_HAN, KQ_CLASS_SPACE } kq_class;
/* The major class of a code point above U+007F in Unicode 15.1; white space before anything else; never KQ_CLASS_HAN. */
kq_class kq_unicode_class(uint32_t cp);
/* The code points that one model family calls Han (CJK ideographs by block, assigned or not). */
bool kq_unicode_is_han(uint32_t cp);

/* One code point from left >= 1 bytes; returns the bytes taken. What is no UTF-8 is U+FFFD and one byte. Overlong forms and
 * surrogates pass, as they do in the reference; values above U+10FFFF do not. */
size_t kq_utf8_decode(const uint8_t *p, size_t left, uint32_t *cp);
/* At most 4 bytes, surrogates included; returns how many. */
size_t kq_utf8_encode(uint32_t cp, uint8_t out[4]);
/* Length that a lead byte announces: 1 for continuation bytes too, 4 for all of F0-FF. */
static inline uint32_t kq_utf8_length(uint8_t lead) { return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

/* The byte alphabet: a code point for every byte, so that vocabularies hold text (U+0100 and on for bytes that do not print). */
uint32_t kq_byte_to_cp(uint8_t byte);
/* The way back, or -1. */
int kq_cp_to_byte(uint32_t cp);

/* ---- heap.c ------------------------------------------------------------------------------------------------------- */

typedef struct kq_heap_entry {
    uint64_t key;
    uint32_t a, b;
} kq_heap_entry;
/* The smallest key comes out first. Keys that are equal come in no particular order. */
typedef struct kq_heap {
    const kq_allocator *allocator;
    kq_heap_entry *entries;
    size_t n, capacity;
} kq_heap;
bool kq_heap_push(kq_heap *h, kq_heap_entry e); /* false when memory fails */
bool kq_heap_pop(kq_heap *h, kq_heap_entry *out); /* false when empty */
void kq_heap_free(kq_heap *h);

/* ---- vocab.c ------------------------------------------------------------------------------------------------------ */

enum { /* what an id is: the first eight as GGUF's token types and the strip flags, the last our own */
    KQ_TOKEN_UNKNOWN = 1, KQ_TOKEN_UNUSED = 2, KQ_TOKEN_NORMAL = 4, KQ_TOKEN_CONTROL = 8, KQ_TOKEN_USER = 16, KQ_TOKEN_BYTE = 32,
    KQ_TOKEN_LSTRIP = 64, KQ_TOKEN_RSTRIP = 128, KQ_TOKEN_END = 256 /* ends generation */
};

/* Ids and their texts. An open-addressed table of 8-byte slots (32 bits of hash, id + 1) leads from text to id: a quarter of the
 * memory of a kq_strmap, which at 150 thousand tokens is the difference between cache and main memory. */
typedef struct kq_vocab {
    const kq_allocator *allocator;
    size_t n;
    char *bytes;       /* all texts, one after another */
    uint32_t *start;   /* n + 1 places in bytes */
    uint16_t *is;      /* KQ_TOKEN_* */
    uint64_t *slots;
    uint64_t seed;     /* of the hashes: kq_hash_seed */
    size_t mask;
    size_t longest;    /* bytes of the longest text */
} kq_vocab;

static inline const char *kq_vocab_text(const kq_vocab *v, uint32_t id, size_t *size) {
    *size = v->start[id + 1] - v->start[id];
    return v->bytes + v->start[id];
}
int32_t kq_vocab_find(const kq_vocab *v, const char *text, size_t size);
/* Tokens and their types. */
kq_status kq_vocab_open(kq_vocab *v, const kq_gguf *g, const kq_allocator *a, kq_error *err);
void kq_vocab_close(kq_vocab *v);
/* NULL and KQ_OK when the key is absent; else an array of at least n numbers (KQ_E_MODEL when it is not). */
kq_status kq_vocab_numbers(const kq_gguf *g, const char *key, size_t n, bool floats, const kq_gguf_value **out, kq_error *err);

/* ---- partition.c -------------------------------------------------------------------------------------------------- */

typedef struct kq_special {
    uint32_t id;
    uint32_t order;  /* place in the order of search: longest first, then by id */
    uint32_t size;   /* bytes of its text */
    bool plain;      /* searched even where special tokens are not (user-defined and nothing else) */
    const char *text;
} kq_special;

typedef struct kq_partition {
    kq_special *tokens;    /* in order of their bytes */
    uint32_t *by_order;    /* order to index in tokens */
    size_t n;
    uint32_t first[257];   /* the tokens that begin with byte b are first[b] to first[b + 1] */
    bool starts[2][256];   /* [plain only]: some token begins with this byte */
} kq_partition;
kq_status kq_partition_open(kq_partition *p, const kq_vocab *v, const kq_allocator *a, kq_error *err);
void kq_partition_close(kq_partition *p, const kq_allocator *a);

/* What a text falls into: either an id (size 0), or bytes that are text. */
typedef kq_status (*kq_partition_emit)(void *ctx, int32_t id, const char *text, size_t size);
kq_status kq_partition_run(const kq_partition *p, const kq_vocab *v, const kq_allocator *a, bool plain_only, const char *text, size_t size,
                           kq_partition_emit emit, void *ctx, kq_error *err);

/* ---- pretokenize.c ------------------------------------------------------------------------------------------------ */

enum { /* flags of rows in pretokenizers.def */
    KQ_PRE_IGNORE_MERGES = 1, KQ_PRE_ADD_BOS = 2, KQ_PRE_ADD_SEP = 4, KQ_PRE_NO_CLEAN = 8, KQ_PRE_RAW = 16, KQ_PRE_ESCAPE = 32,
    KQ_PRE_NO_DEFAULT_BOS = 64, KQ_PRE_NEWLINES = 128, KQ_PRE_FORCE_BOS = 256, KQ_PRE_NO_MERGES = 512
};

enum { KQ_CHAIN_STAGES = 6 };
typedef struct kq_pretokenizer {
    const char *name;   /* of tokenizer.ggml.pre */
    const char *chain;  /* of the chain of patterns */
    const char *const *stages; /* KQ_CHAIN_STAGES places, NULL beyond the last */
    uint32_t flags;
} kq_pretokenizer;
const kq_pretokenizer *kq_pretokenizer_find(const char *name); /* NULL when there is none */
const kq_pretokenizer *kq_pretokenizer_at(size_t i);           /* NULL beyond the last */

/* A chain of patterns, compiled. Immutable. */
typedef struct kq_chain kq_chain;
kq_status kq_chain_open(kq_chain **out, const char *const stages[KQ_CHAIN_STAGES], const kq_allocator *a, kq_error *err);
void kq_chain_close(kq_chain *c);

/* One thread's use of a chain: matching needs scratch memory. */
typedef struct kq_splitter {
    const kq_chain *chain;
    void *match, *context; /* PCRE2's */
    bool interpreter;      /* leaves compiled code alone, as where a system forbids it: for tests */
} kq_splitter;
kq_status kq_splitter_open(kq_splitter *s, const kq_chain *c, kq_error *err);
void kq_splitter_close(kq_splitter *s);

/* The class of a code point: one byte that answers whatever a pattern of the chain can ask (pretokenize.c says how). Below
 * U+0080 it is the code point itself. */
uint8_t kq_chain_class(const kq_chain *c, uint32_t cp);
/* Cuts n classes into pieces, given out in order: `at` and `n` count code points. */
typedef kq_status (*kq_split_emit)(void *ctx, size_t at, size_t n);
kq_status kq_splitter_run(kq_splitter *s, const uint8_t *classes, size_t n, kq_split_emit emit, void *ctx, kq_error *err);

/* ---- pattern.c ---------------------------------------------------------------------------------------------------- */

/* Ranges of code points above U+007F that patterns name outright; each bracket with such ranges is a set. */
enum { KQ_PATTERN_SETS = 4, KQ_PATTERN_RANGES = 160, KQ_PATTERN_BYTES = 4096 };
typedef struct kq_range {
    uint32_t first, last;
} kq_range;
typedef struct kq_alphabet {
    uint32_t n_sets;
    uint32_t set_end[KQ_PATTERN_SETS]; /* set s is ranges[set_end[s - 1], set_end[s]), sorted, disjoint */
    kq_range ranges[KQ_PATTERN_RANGES];
    bool han;                          /* \p{Han} is a class of its own in this chain */
} kq_alphabet;
/* The first pass over a chain's patterns collects the sets; the second writes each as a pattern over classes. Both take our own
 * rows alone, so what they cannot read is our mistake: false, which a test looks for in every row. */
bool kq_pattern_collect(kq_alphabet *a, const char *pattern);
/* first_set: the number of the pattern's first set in the chain; moved on. */
bool kq_pattern_rewrite(const kq_alphabet *a, const char *pattern, uint32_t *first_set, char out[KQ_PATTERN_BYTES], size_t *size);
uint8_t kq_alphabet_class(const kq_alphabet *a, uint32_t cp);

/* ---- merge.c, bpe.c, spm.c ------------------------------------------------------------------------------------------ */

#define KQ_NO_SYMBOL UINT32_MAX

typedef struct kq_symbol {
    uint32_t start, size;   /* bytes of the encoder's fragment; size 0: merged away */
    uint32_t id;            /* a symbol of bpe.c, a token of spm.c; KQ_NO_SYMBOL: neither */
    uint32_t prev, next;    /* while merging many; KQ_NO_SYMBOL at the ends */
} kq_symbol;

typedef struct kq_pair { /* one row of the table of merges */
    uint32_t left, right, rank, result;
} kq_pair;

typedef struct kq_bpe {
    kq_pair *pairs;        /* open addressing; rank KQ_NO_SYMBOL = free */
    uint64_t mask, seed;   /* seed: kq_hash_seed */
    uint32_t byte_symbol[256]; /* the symbol of every byte, where the alphabet is bytes */
    kq_strmap extra;       /* texts that only merges have: symbols n and on, where n is the vocabulary's size */
    kq_arena arena;
    size_t n_symbols;
} kq_bpe;

typedef enum kq_text_model { KQ_TEXT_NONE, KQ_TEXT_TEST, KQ_TEXT_SPM, KQ_TEXT_BPE } kq_text_model;

struct kq_tokenizer {
    kq_allocator allocator;
    kq_arena arena;
    kq_text_model kind;
    const char *model, *pre;
    kq_vocab vocab;
    float *scores;          /* SPM */
    int32_t bos, eos;
    bool add_bos, add_eos, add_space_prefix, clean_spaces;
    bool escape;            /* SP is written U+2581 in texts */
    bool joins_space[256];  /* something that ends in this byte may be merged with something that begins with U+2581 */
    uint32_t flags;         /* KQ_PRE_* of the pre-tokenizer */
    int32_t hex_token[256]; /* the token <0xHH>, or KQ_NO_TOKEN */
    int32_t byte_token[256]; /* the token whose text is that byte alone, or KQ_NO_TOKEN */
    kq_partition special;
    kq_chain *chain;        /* BPE */
    kq_bpe bpe;
    size_t longest_piece;   /* bytes that an id prints at most */
};

/* One call of kq_tokenizer_encode: its result and all its scratch memory. */
typedef struct kq_encoder {
    const kq_tokenizer *t;
    int32_t *ids;
    size_t capacity, count;
    kq_error *err;
    kq_heap heap;
    kq_symbol *symbols;
    size_t n_symbols, symbols_capacity;
    uint8_t *text;       /* a fragment made canonical */
    size_t text_capacity;
    uint8_t *classes;    /* of its code points */
    size_t classes_capacity;
    uint8_t *mapped;     /* a piece in the byte alphabet */
    size_t mapped_capacity;
    kq_splitter splitter;
    const uint8_t *fragment, *next; /* canonical text, and where the next piece begins */
    bool ascii;
} kq_encoder;

static inline void kq_encoder_put(kq_encoder *e, int32_t id) {
    if (e->count < e->capacity) e->ids[e->count] = id;
    e->count++;
}

/* The symbols of a text that lies in e->fragment: its UTF-8 characters by their lead bytes, as far as they may join; *taken is the
 * bytes they are. */
kq_status kq_merge_split(kq_encoder *e, const uint8_t *text, size_t size, size_t *taken);
/* Joins neighbours among e->symbols while some pair has a rank, the lowest rank first and the leftmost of equals. rank() returns
 * KQ_NO_SYMBOL for pairs that do not join, and otherwise the id of what they become. */
typedef uint32_t (*kq_merge_rank)(const kq_encoder *e, const kq_symbol *left, const kq_symbol *right, uint32_t *id);
kq_status kq_merge(kq_encoder *e, kq_merge_rank rank);
/* The text begins with U+2581. */
bool kq_merge_is_space(const uint8_t *text, size_t left);

kq_status kq_bpe_open(kq_tokenizer *t, const kq_gguf *g, kq_error *err);
void kq_bpe_close(kq_bpe *b, const kq_allocator *a);
kq_status kq_bpe_fragment(kq_encoder *e, const char *text, size_t size);
/* The merge of two symbols: its rank (KQ_NO_SYMBOL: none) and what it makes. */
uint32_t kq_bpe_pair(const kq_bpe *b, uint32_t left, uint32_t right, uint32_t *result);
kq_status kq_spm_open(kq_tokenizer *t, const kq_gguf *g, kq_error *err);
kq_status kq_spm_fragment(kq_encoder *e, const char *text, size_t size);

/* Fills e->text, e->fragment and e->classes from a fragment of BPE; *n code points. */
kq_status kq_prepare(kq_encoder *e, const char *text, size_t size, size_t *n);

/* ---- special.c, detokenize.c ---------------------------------------------------------------------------------------- */

/* Roles of ids, what ends generation, strip flags. */
kq_status kq_special_open(kq_tokenizer *t, const kq_gguf *g, kq_error *err);
/* Sets t->longest_piece; refuses byte tokens that name no byte. */
kq_status kq_detokenize_open(kq_tokenizer *t, kq_error *err);

/* ---- tokenizer.c ---------------------------------------------------------------------------------------------------- */

/* Gives a byte-level BPE another pre-tokenizer: for finding out which one a vocabulary was made with. What the row says of BOS and of spaces
 * is left alone. KQ_E_UNSUPPORTED: the row wants texts that are not bytes. */
kq_status kq_tokenizer_set_pre(kq_tokenizer *t, const kq_pretokenizer *row, kq_error *err);

#endif
