// SPDX-License-Identifier: MIT
#include "errors.h"

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "environment.h"

namespace
{

std::string Describe(int error)
{
    if (error == kNotSupported)
        return "not supported for this kind of map or program";
    if (error >= __LIBBPF_ERRNO__START) {
        char text[128] = "";
        libbpf_strerror(error, text, sizeof(text));
        return text;
    }
    const char *text = strerrordesc_np(error);
    return text ? text : "error " + std::to_string(error);
}

Napi::Value Text(Napi::Env env, const std::string &text)
{
    return text.empty() ? env.Undefined() : Napi::String::New(env, text);
}

Napi::Error Build(Napi::Env env, const Failure &failure, const std::string &description)
{
    Napi::FunctionReference &error = Environment::Of(env).error;
    if (error.IsEmpty())
        return Napi::Error::New(env, failure.operation + ": " + description);
    Napi::Value done = failure.done ? Napi::Value(Napi::Number::New(env, *failure.done)) : env.Undefined();
    Napi::Object value =
        error.New({Napi::Number::New(env, failure.error), Napi::String::New(env, failure.operation),
                   Napi::String::New(env, description), Text(env, failure.subject), Text(env, failure.log), done});
    return Napi::Error(env, value);
}

} // namespace

Napi::Error ToError(Napi::Env env, const Failure &failure)
{
    return Build(env, failure, Describe(failure.error));
}

void Fail(Napi::Env env, int error, const std::string &operation, const std::string &subject, const std::string &log)
{
    throw ToError(env, Failure{std::abs(error), operation, subject, log, std::nullopt});
}

void FailClosed(Napi::Env env, const std::string &operation, const std::string &subject)
{
    throw Build(env, Failure{EBADF, operation, subject, "", std::nullopt}, "it is closed");
}
