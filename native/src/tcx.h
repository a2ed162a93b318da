// SPDX-License-Identifier: MIT
#pragma once
#include <napi.h>

void InitTcx(Napi::Env env, Napi::Object exports);
