// SPDX-License-Identifier: MIT
#pragma once
#include <napi.h>

void InitBtf(Napi::Env env, Napi::Object exports);
