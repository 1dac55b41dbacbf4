/* SPDX-License-Identifier: MIT */
/* All of kquant's public interface. */
#ifndef KQUANT_H
#define KQUANT_H
#include <kquant/codec.h>
#include <kquant/convert.h>
#include <kquant/core.h>
#include <kquant/file.h>
#include <kquant/measure.h>
#include <kquant/model.h>
#include <kquant/ops.h>
#include <kquant/quant.h>
#include <kquant/text.h>
#endif
