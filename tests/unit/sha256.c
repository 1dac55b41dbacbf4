/* SPDX-License-Identifier: MIT */
/* SHA-256 against the examples of FIPS 180-4 (and NIST's CAVS vectors), whole and in pieces of every size. */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void known_hashes(void **state) {
    (void)state;
    static const struct {
        const char *text, *hash;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
        {"\xd3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"},
    };
    for (size_t i = 0; i < KQ_COUNT(known); i++) {
        char hex[65];
        kq_sha256_hex(known[i].text, strlen(known[i].text), hex);
        assert_string_equal(hex, known[i].hash);
    }
}

static void a_million_bytes(void **state) {
    (void)state;
    char *text = malloc(1000000), hex[65];
    memset(text, 'a', 1000000);
    kq_sha256_hex(text, 1000000, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(text);
}

static void pieces_make_no_difference(void **state) {
    (void)state;
    uint8_t text[200], whole[32], hash[32];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)(i * 37 + 5);
    for (size_t size = 0; size <= sizeof text; size++) {
        kq_sha256 s;
        kq_sha256_init(&s);
        kq_sha256_add(&s, text, size);
        kq_sha256_finish(&s, whole);
        for (size_t piece = 1; piece <= 70; piece++) {
            kq_sha256_init(&s);
            for (size_t at = 0; at < size; at += piece) kq_sha256_add(&s, text + at, KQ_MIN(piece, size - at));
            kq_sha256_finish(&s, hash);
            assert_memory_equal(hash, whole, sizeof hash);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hashes),
        cmocka_unit_test(a_million_bytes),
        cmocka_unit_test(pieces_make_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
