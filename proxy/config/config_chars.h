/* SPDX-License-Identifier: Apache-2.0 */
/* What bytes a configured text may hold. */
#ifndef SKY_PROXY_CONFIG_CONFIG_CHARS_H
#define SKY_PROXY_CONFIG_CONFIG_CHARS_H

/* sky_config_check_chars: NULL, or a static predicate. Valid UTF-8 is wanted by the protocol to
 * OAP; controls, line separators, byte order marks and non-characters are what YAML cannot hold as
 * they are, so what --print-config prints could not be read again. */
const char *sky_config_check_chars(const char *text);

#endif
