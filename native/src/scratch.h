// SPDX-License-Identifier: MIT
#pragma once
#include <linux/bpf.h>

#include <functional>

#include "descriptor.h"

/** Where features are tried out without touching anything that is the machine's. */
namespace scratch
{

/** A program of this type that returns `answer`; not valid (errno is set) when refused. */
Descriptor Program(bpf_prog_type type, int answer);

/**
 * Runs `work` on a thread of its own in a network namespace of its own (its loopback has index 1), both gone
 * afterwards. What `work` returns, or the errno for which there was no namespace.
 */
int InNamespace(const std::function<int()> &work);

} // namespace scratch
