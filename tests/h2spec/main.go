// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package h2spec pins the conformance tests of HTTP/2 that tests/e2e/test_h2spec.py builds and runs.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
