/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/http/coding_weight.h"

#include "proxy/http/field_text.h"

#define WEIGHT_ONE 1000

/* 0 to 1 with up to three decimals (RFC 9110, 12.4.2). */
static unsigned weight_of(struct sky_text value)
{
    unsigned weight, unit = WEIGHT_ONE;

    if (value.len == 0 || (value.base[0] != '0' && value.base[0] != '1'))
        return 0;
    weight = (unsigned)(value.base[0] - '0') * WEIGHT_ONE;
    if (value.len > 5 || (value.len > 1 && value.base[1] != '.'))
        return 0;
    for (size_t i = 2; i < value.len; ++i) {
        if (value.base[i] < '0' || value.base[i] > '9')
            return 0;
        unit /= 10;
        weight += (unsigned)(value.base[i] - '0') * unit;
    }
    return weight <= WEIGHT_ONE ? weight : 0;
}

/* Of what follows the coding's name; without a weight it is 1. */
static unsigned read_parameters(struct sky_text parameters)
{
    while (parameters.len != 0) {
        struct sky_text value = sky_field_cut(&parameters, ';');
        struct sky_text name = sky_field_cut(&value, '=');
        if (sky_text_equal_nocase(name, SKY_TEXT("q")))
            return weight_of(sky_field_trim(value));
    }
    return WEIGHT_ONE;
}

unsigned sky_coding_weight(struct sky_text accept_encoding, struct sky_text coding)
{
    unsigned any = 0;

    while (accept_encoding.len != 0) {
        struct sky_text item = sky_field_cut(&accept_encoding, ',');
        struct sky_text name = sky_field_cut(&item, ';');
        if (sky_text_equal_nocase(name, coding))
            return read_parameters(item);
        if (sky_text_equal(name, SKY_TEXT("*")))
            any = read_parameters(item);
    }
    return any;
}
