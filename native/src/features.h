// SPDX-License-Identifier: MIT
#pragma once
#include <napi.h>

void InitFeatures(Napi::Env env, Napi::Object exports);
