/* SPDX-License-Identifier: Apache-2.0 */
/* Walks descriptors of protobuf-c. Field names in our .proto files are lowerCamelCase already, so a
 * field's name is its JSON name. */
#include "reporter/proto_json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
        return sizeof(int32_t);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_INT64:
        return sizeof(int64_t);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default:
        assert(!"a field type that none of our messages has");
        abort();
    }
}

static void write_enum(struct sky_json_text *json, const ProtobufCEnumDescriptor *descriptor,
                       int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);

    if (value != NULL)
        sky_json_string(json, sky_text_of(value->name));
    else
        sky_json_number(json, number);
}

static void write_value(struct sky_json_text *json, const ProtobufCFieldDescriptor *field,
                        const void *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        sky_json_number(json, *(const int32_t *)value);
        break;
    case PROTOBUF_C_TYPE_INT64:
        sky_json_number(json, *(const int64_t *)value);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(json, field->descriptor, *(const int *)value);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        sky_json_bool(json, *(const protobuf_c_boolean *)value);
        break;
    case PROTOBUF_C_TYPE_STRING:
        sky_json_string(json, sky_text_of(*(char *const *)value));
        break;
    default:
        if (*(ProtobufCMessage *const *)value == NULL)
            sky_json_raw(json, SKY_TEXT("null"));
        else
            sky_proto_to_json(json, *(ProtobufCMessage *const *)value);
    }
}

static void write_list(struct sky_json_text *json, const ProtobufCFieldDescriptor *field,
                       const char *items, size_t count)
{
    size_t size = size_of(field->type);

    sky_json_raw(json, SKY_TEXT("["));
    for (size_t i = 0; i < count; i++) {
        sky_json_comma(json);
        write_value(json, field, items + i * size);
    }
    sky_json_raw(json, SKY_TEXT("]"));
}

void sky_proto_to_json(struct sky_json_text *json, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;

    sky_json_raw(json, SKY_TEXT("{"));
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const char *member = (const char *)message + field->offset;
        sky_json_key(json, field->name);
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            write_list(json, field, *(char *const *)member,
                       *(const size_t *)((const char *)message + field->quantifier_offset));
        else
            write_value(json, field, member);
    }
    sky_json_raw(json, SKY_TEXT("}"));
}

/* Where the reader says what is wrong. */
struct reader {
    char *error;
    size_t error_size;
};

static bool refuse(struct reader *reader, const ProtobufCFieldDescriptor *field, const char *why)
{
    snprintf(reader->error, reader->error_size, "%s: %s", field->name, why);
    return false;
}

static bool refuse_memory(struct reader *reader)
{
    snprintf(reader->error, reader->error_size, "memory is out");
    return false;
}

/* A number, a number with a zero fraction, or a string of digits. */
static bool whole_number(const json_t *value, int64_t *number)
{
    if (json_is_integer(value)) {
        *number = json_integer_value(value);
        return true;
    }
    if (json_is_real(value)) {
        double real = json_real_value(value);
        if (!(real >= -0x1p63 && real < 0x1p63))
            return false;
        *number = (int64_t)real;
        return (double)*number == real;
    }
    const char *digits = json_string_value(value);
    if (digits == NULL || (*digits != '-' && (*digits < '0' || *digits > '9')))
        return false;
    char *end;
    errno = 0;
    *number = strtoll(digits, &end, 10);
    return errno == 0 && *end == '\0' && end[-1] != '-';
}

static bool read_int32(struct reader *reader, const ProtobufCFieldDescriptor *field,
                       const json_t *value, int32_t *out)
{
    int64_t number;

    if (!whole_number(value, &number) || number < INT32_MIN || number > INT32_MAX)
        return refuse(reader, field, "a whole number of 32 bits is wanted");
    *out = (int32_t)number;
    return true;
}

static bool read_enum(struct reader *reader, const ProtobufCFieldDescriptor *field,
                      const json_t *value, int *out)
{
    int32_t number;

    if (json_is_string(value)) {
        const ProtobufCEnumValue *named = protobuf_c_enum_descriptor_get_value_by_name(
            field->descriptor, json_string_value(value));
        *out = named != NULL ? named->value : 0;
        return true;
    }
    if (!read_int32(reader, field, value, &number))
        return refuse(reader, field, "a name or number of the enumeration is wanted");
    *out = number;
    return true;
}

static bool read_string(struct reader *reader, const ProtobufCFieldDescriptor *field,
                        const json_t *value, char **out)
{
    if (!json_is_string(value))
        return refuse(reader, field, "a string is wanted");
    char *copy = strdup(json_string_value(value));
    if (copy == NULL)
        return refuse_memory(reader);
    *out = copy;
    return true;
}

static ProtobufCMessage *read_message(struct reader *reader,
                                      const ProtobufCMessageDescriptor *descriptor,
                                      const json_t *value);

static bool read_value(struct reader *reader, const ProtobufCFieldDescriptor *field,
                       const json_t *value, void *out)
{
    int64_t number;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        return read_int32(reader, field, value, out);
    case PROTOBUF_C_TYPE_INT64:
        if (!whole_number(value, &number))
            return refuse(reader, field, "a whole number of 64 bits is wanted");
        *(int64_t *)out = number;
        return true;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(reader, field, value, out);
    case PROTOBUF_C_TYPE_BOOL:
        if (!json_is_boolean(value))
            return refuse(reader, field, "true or false is wanted");
        *(protobuf_c_boolean *)out = json_is_true(value);
        return true;
    case PROTOBUF_C_TYPE_STRING:
        return read_string(reader, field, value, out);
    default:
        if (!json_is_object(value))
            return refuse(reader, field, "an object is wanted");
        *(ProtobufCMessage **)out = read_message(reader, field->descriptor, value);
        return *(ProtobufCMessage **)out != NULL;
    }
}

/* The count grows with each item read, so that freeing the message frees what there is of it. */
static bool read_list(struct reader *reader, const ProtobufCFieldDescriptor *field,
                      const json_t *value, size_t *count, char **items)
{
    size_t size = size_of(field->type), length = json_array_size(value);

    if (!json_is_array(value))
        return refuse(reader, field, "an array is wanted");
    if (length == 0)
        return true;
    *items = calloc(length, size);
    if (*items == NULL)
        return refuse_memory(reader);
    for (size_t i = 0; i < length; i++) {
        if (!read_value(reader, field, json_array_get(value, i), *items + i * size))
            return false;
        ++*count;
    }
    return true;
}

static ProtobufCMessage *read_message(struct reader *reader,
                                      const ProtobufCMessageDescriptor *descriptor,
                                      const json_t *value)
{
    ProtobufCMessage *message = malloc(descriptor->sizeof_message);

    if (message == NULL) {
        refuse_memory(reader);
        return NULL;
    }
    protobuf_c_message_init(descriptor, message);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const json_t *item = json_object_get(value, field->name);
        char *member = (char *)message + field->offset;
        if (item == NULL || json_is_null(item))
            continue;
        bool is_read =
            field->label == PROTOBUF_C_LABEL_REPEATED
                ? read_list(reader, field, item,
                            (size_t *)((char *)message + field->quantifier_offset), (char **)member)
                : read_value(reader, field, item, member);
        if (!is_read) {
            protobuf_c_message_free_unpacked(message, NULL);
            return NULL;
        }
    }
    return message;
}

ProtobufCMessage *sky_proto_from_json(const ProtobufCMessageDescriptor *descriptor,
                                      const json_t *value, char *error, size_t error_size)
{
    struct reader reader = {error, error_size};

    if (!json_is_object(value)) {
        snprintf(error, error_size, "an object is wanted");
        return NULL;
    }
    return read_message(&reader, descriptor, value);
}
