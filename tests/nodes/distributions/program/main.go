// Copyright: (c) 2026, the confidential_containers.runtime authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command distribution imitates what k3s, RKE2 and k0s do around the real containerd: they render its configuration, start it,
// and look after it. It knows by its own name which of them it is. There is no Kubernetes in it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

func main() {
	runtime.LockOSThread() // the engine dies with the thread that has started it
	program, arguments := filepath.Base(os.Args[0]), os.Args[1:]
	run := map[string]func(string, []string) error{"k3s": rancher, "rke2": rancher, "k0s": k0s}[program]
	if run == nil {
		run = func(string, []string) error { return fmt.Errorf("this is k3s, rke2 or k0s, not %s", program) }
	}
	if err := run(program, arguments); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		os.Exit(1)
	}
}
