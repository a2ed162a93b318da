// SPDX-License-Identifier: MIT
#pragma once
#include <napi.h>

#include <cstdint>

/** Makes the qdisc when it is missing; replaces in place what has this priority and handle. 0 or an errno. */
int AttachClsact(int ifindex, bool egress, int program, uint32_t priority, uint32_t handle);

void InitClsact(Napi::Env env, Napi::Object exports);
