// SPDX-License-Identifier: MIT
#include "arguments.h"

#include <cmath>

void Arguments::WrongType(const char *name, const char *wanted) const
{
    throw Napi::TypeError::New(info_.Env(), std::string(operation_) + ": " + name + " must be " + wanted);
}

void Arguments::WrongRange(const char *name, const std::string &wanted) const
{
    throw Napi::RangeError::New(info_.Env(), std::string(operation_) + ": " + name + " must be " + wanted);
}

Bytes Arguments::AnyBytes(size_t index, const char *name) const
{
    Napi::Value value = info_[index];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
        WrongType(name, "a Buffer");
    Napi::Uint8Array array = value.As<Napi::Uint8Array>();
    return {array.Data(), array.ByteLength()};
}

Bytes Arguments::ExactBytes(size_t index, const char *name, size_t size) const
{
    Bytes bytes = AnyBytes(index, name);
    if (bytes.size != size)
        WrongRange(name, "exactly " + std::to_string(size) + " bytes, it has " + std::to_string(bytes.size));
    return bytes;
}

uint32_t Arguments::U32(size_t index, const char *name, uint32_t least, uint32_t most) const
{
    Napi::Value value = info_[index];
    if (!value.IsNumber())
        WrongType(name, "a number");
    double number = value.As<Napi::Number>().DoubleValue();
    if (!(number >= least && number <= most) || std::trunc(number) != number)
        WrongRange(name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    return static_cast<uint32_t>(number);
}

uint64_t Arguments::U64(size_t index, const char *name) const
{
    Napi::Value value = info_[index];
    if (!value.IsBigInt())
        WrongType(name, "a bigint");
    bool lossless = false;
    uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
    if (!lossless)
        WrongRange(name, "from 0n to 2n ** 64n - 1n");
    return number;
}

bool Arguments::Flag(size_t index, const char *name) const
{
    Napi::Value value = info_[index];
    if (!value.IsBoolean())
        WrongType(name, "true or false");
    return value.As<Napi::Boolean>();
}

std::string Arguments::Text(size_t index, const char *name) const
{
    Napi::Value value = info_[index];
    if (!value.IsString())
        WrongType(name, "a string");
    std::string text = value.As<Napi::String>();
    if (text.empty() || text.find('\0') != std::string::npos)
        WrongRange(name, "not empty and without NUL");
    return text;
}

Napi::Function Arguments::Callback(size_t index, const char *name) const
{
    Napi::Value value = info_[index];
    if (!value.IsFunction())
        WrongType(name, "a function");
    return value.As<Napi::Function>();
}

bool Arguments::Egress(size_t index) const
{
    std::string direction = Text(index, "direction");
    if (direction != "ingress" && direction != "egress")
        WrongRange("direction", "\"ingress\" or \"egress\"");
    return direction == "egress";
}
