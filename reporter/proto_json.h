/* SPDX-License-Identifier: Apache-2.0 */
/* The protobuf JSON mapping of any message of ours, by its descriptor: names in lowerCamelCase,
 * enums by name. Written: every field, defaults too, int64 as a number. Read: int64 as number or
 * string, enums by name or number (an unknown name is the default), null is absent, unknown members
 * are ignored. */
#ifndef SKY_REPORTER_PROTO_JSON_H
#define SKY_REPORTER_PROTO_JSON_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "reporter/json_text.h"

/* sky_proto_to_json: appends the message as an object. Its strings are valid UTF-8. */
void sky_proto_to_json(struct sky_json_text *json, const ProtobufCMessage *message);

/* sky_proto_from_json: builds a message from an object. Heap, freed by
 * protobuf_c_message_free_unpacked(message, NULL). NULL with a sentence in error when the value
 * does not fit the descriptor, or memory is out. */
ProtobufCMessage *sky_proto_from_json(const ProtobufCMessageDescriptor *descriptor,
                                      const json_t *value, char *error, size_t error_size);

#endif
