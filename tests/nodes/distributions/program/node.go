// Copyright: (c) 2026, the confidential_containers.runtime authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings returns what /etc/default/PROGRAM-imitation says: the switches of a test, NAME=VALUE.
func settings(program string) map[string]string {
	found := map[string]string{}
	text, _ := os.ReadFile("/etc/default/" + program + "-imitation")
	for _, line := range strings.Split(string(text), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(name, "#") {
			found[name] = strings.Trim(value, "\"")
		}
	}
	return found
}

// atLeast tells whether a release ("v1.35.3+k3s1") is that of a minor version or a later one, and not older than its patch.
func atLeast(release string, minor, patch int) bool {
	var ours, theirs int
	fmt.Sscanf(release, "v1.%d.%d", &ours, &theirs)
	return ours > minor || ours == minor && theirs >= patch
}

// option returns the value of --NAME VALUE or --NAME=VALUE.
func option(arguments []string, name, otherwise string) string {
	for i, argument := range arguments {
		if value, ok := strings.CutPrefix(argument, name+"="); ok {
			return value
		}
		if argument == name && i+1 < len(arguments) {
			return arguments[i+1]
		}
	}
	return otherwise
}

// become replaces this program by another one.
func become(program string, arguments, environment []string) error {
	return syscall.Exec(program, append([]string{program}, arguments...), environment)
}

// serves tells whether the engine's CRI answers.
func serves(ctr, socket string) bool {
	rows, err := exec.Command(ctr, "--address", socket, "plugins", "ls", "id==cri").Output()
	return err == nil && strings.Count(string(rows), " ok") > 0 && !strings.Contains(string(rows), "error")
}

// await returns when the engine serves; it has no patience left after a while, if there is a limit.
func await(ctr, socket string, limit time.Duration) error {
	for began := time.Now(); !serves(ctr, socket); time.Sleep(200 * time.Millisecond) {
		if limit != 0 && time.Since(began) > limit {
			return fmt.Errorf("containerd does not answer")
		}
	}
	return nil
}

// ready tells systemd that the unit is up.
func ready() {
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		if connection, err := net.Dial("unixgram", socket); err == nil {
			fmt.Fprint(connection, "READY=1")
			connection.Close()
		}
	}
}

// say writes a line to the unit's journal, in the form that these programs share.
func say(level, message string, fields ...string) {
	at := time.Now().UTC().Format(time.RFC3339)
	line := []string{"time=" + strconv.Quote(at), "level=" + level, "msg=" + strconv.Quote(message)}
	fmt.Fprintln(os.Stderr, strings.Join(append(line, fields...), " "))
}
