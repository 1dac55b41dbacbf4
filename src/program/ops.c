/* SPDX-License-Identifier: MIT */
/* The table of operations as data. */
#include "program/ops.h"

const kq_op_info kq_ops[KQ_N_OPS] = {
#define KQ_OP(name, signature, attributes) {#name, signature, attributes},
#include "program/ops.def"
};

const char *const kq_role_names[KQ_N_ROLES] = {
    "",
#define KQ_ROLE(name) #name,
#include "program/roles.def"
};
