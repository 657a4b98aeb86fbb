// Copyright: (c) 2026, the confidential_containers.runtime authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/pelletier/go-toml/v2"
)

const (
	k0sRun     = "/run/k0s"
	k0sSocket  = k0sRun + "/containerd.sock"
	k0sMerged  = k0sRun + "/containerd-cri.toml"
	k0sConfig  = "/etc/k0s/containerd.toml"
	k0sDropIns = "/etc/k0s/containerd.d"
	k0sManaged = "# k0s_managed=true"
	k0sPause   = "images.example.com/k0sproject/pause:3.10.1"
	k0sCtr     = "/usr/lib/k0s-imitation/ctr"
	criOf2     = "io.containerd.grpc.v1.cri"
	respawn    = 5 * time.Second
	debounce   = 3 * time.Second
)

// worker is k0s on one node.
type worker struct {
	bin    string
	data   string
	third  bool // since 1.36: containerd 2.x and its schema 3
	engine atomic.Pointer[os.Process]
}

func k0s(program string, arguments []string) error {
	release := settings(program)["RELEASE"]
	data := option(arguments, "--data-dir", "/var/lib/k0s")
	w := &worker{bin: data + "/bin", data: data, third: atLeast(release, 36, 0)}
	command := ""
	if len(arguments) > 0 {
		command = arguments[0]
	}
	switch command {
	case "version":
		fmt.Println(release)
		return nil
	case "ctr":
		environment := append(os.Environ(), "CONTAINERD_ADDRESS="+k0sSocket, "CONTAINERD_NAMESPACE=k8s.io")
		return become(k0sCtr, arguments[1:], environment)
	case "worker", "controller":
		return w.run()
	}
	return fmt.Errorf("of k0s, this imitates worker, controller, ctr and version, not %q", command)
}

func (w *worker) run() error {
	if _, err := os.Stat(w.bin); errors.Is(err, os.ErrNotExist) { // what is packed into the real program
		if err := exec.Command("sh", "-ec", "mkdir -p \"$1\" && cp -a /var/lib/k0s/bin \"$1\"", "-", w.data).Run(); err != nil {
			return fmt.Errorf("unpacking into %s: %w", w.data, err)
		}
	}
	if w.third {
		if err := preflight(); err != nil {
			return err
		}
	}
	if err := w.configure(); err != nil {
		return err
	}
	w.endOld()
	stopping := make(chan os.Signal, 1)
	signal.Notify(stopping, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan error, 1)
	go w.supervise(stopping, ended)
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		err = watcher.Add(k0sDropIns)
	}
	if err != nil {
		return err
	}
	go w.watch(watcher)
	if err := await(k0sCtr, k0sSocket, 2*time.Minute); err != nil {
		return err
	}
	return <-ended
}

// preflight refuses to start with a drop-in of containerd 1.x.
func preflight() error {
	paths, _ := filepath.Glob(k0sDropIns + "/*.toml")
	for _, path := range paths {
		_, tree, err := read(path)
		if err != nil {
			return fmt.Errorf("pre-flight checks failed: %s: %w", path, err)
		}
		version, given := tree["version"]
		if given && version != int64(3) {
			return fmt.Errorf("pre-flight checks failed: %s: version is %v, containerd 2.x needs 3", path, version)
		}
		if _, old := table(tree, "plugins")[criOf2]; old {
			return fmt.Errorf("pre-flight checks failed: %s: %s is a plugin of containerd 1.x", path, criOf2)
		}
	}
	return nil
}

// managed tells whether the main file is k0s' own.
func (w *worker) managed() bool {
	text, err := os.ReadFile(k0sConfig)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	lines := strings.Split(string(text), "\n")
	if w.third {
		return lines[0] == k0sManaged
	}
	return slices.Contains(lines, k0sManaged) // 1.35 takes it on any line
}

// configure writes what containerd reads, and merges the drop-ins where containerd cannot.
func (w *worker) configure() error {
	if !w.managed() {
		say("info", "containerd config file "+k0sConfig+" is not k0s managed, skipping config generation")
		return nil
	}
	for _, directory := range []string{k0sDropIns, k0sRun} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
	}
	if w.third {
		runc := map[string]any{"runtime_type": "io.containerd.runc.v2", "options": map[string]any{"BinaryName": wrapper}}
		return writeTOML(k0sConfig, k0sManaged+"\n# A placeholder: to replace it, remove the first line.\n", map[string]any{
			"version": 3,
			"imports": []string{k0sDropIns + "/*.toml"},
			"plugins": map[string]any{
				"io.containerd.cri.v1.images": map[string]any{"pinned_images": map[string]any{"sandbox": k0sPause}},
				"io.containerd.cri.v1.runtime": map[string]any{
					"restrict_oom_score_adj": true,
					"containerd":             map[string]any{"runtimes": map[string]any{"runc": runc}},
				},
			},
		})
	}
	merged, imports, err := w.merge()
	if err != nil {
		return err
	}
	if err := writeTOML(k0sMerged, "", merged); err != nil {
		return err
	}
	return writeTOML(k0sConfig, k0sManaged+"\n# A placeholder: to replace it, remove the first line.\n", map[string]any{
		"version": 2, "imports": append(imports, k0sMerged),
	})
}

// merge lays the drop-ins that configure CRI over containerd's defaults, and returns the others to be imported.
func (w *worker) merge() (map[string]any, []string, error) {
	text, err := exec.Command(w.bin+"/containerd", "config", "default").Output()
	if err != nil {
		return nil, nil, err
	}
	var defaults map[string]any
	if err := toml.Unmarshal(text, &defaults); err != nil {
		return nil, nil, err
	}
	cri := table(table(defaults, "plugins"), criOf2)
	overlay(cri, map[string]any{"sandbox_image": k0sPause, "disable_cgroup": true, "restrict_oom_score_adj": true})
	merged := map[string]any{"version": int64(2), "plugins": map[string]any{criOf2: cri}}
	var imports []string
	paths, _ := filepath.Glob(k0sDropIns + "/*.toml")
	for _, path := range paths {
		_, tree, err := read(path)
		if err != nil {
			return nil, nil, fmt.Errorf("failed to check for CRI plugin configuration in %s: %w", path, err)
		}
		if _, ours := table(tree, "plugins")[criOf2]; ours {
			say("info", "Found CRI plugin configuration in "+path+", treating as merge patch", "component=containerd")
			overlay(merged, tree)
		} else {
			imports = append(imports, path)
		}
	}
	return merged, imports, nil
}

func overlay(under, over map[string]any) {
	for key, value := range over {
		below, both := under[key].(map[string]any)
		if above, ok := value.(map[string]any); ok && both {
			overlay(below, above)
		} else {
			under[key] = value
		}
	}
}

func table(tree map[string]any, key string) map[string]any {
	found, _ := tree[key].(map[string]any)
	return found
}

func read(path string) ([]byte, map[string]any, error) {
	var tree map[string]any
	text, err := os.ReadFile(path)
	if err == nil {
		err = toml.Unmarshal(text, &tree)
	}
	return text, tree, err
}

// writeTOML puts a new file in the place of another.
func writeTOML(path, header string, tree map[string]any) error {
	text, err := toml.Marshal(tree)
	if err != nil {
		return err
	}
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
	if err := os.WriteFile(part, append([]byte(header), text...), 0o644); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// endOld ends an engine that has outlived a k0s before us.
func (w *worker) endOld() {
	text, _ := os.ReadFile(k0sRun + "/containerd.pid")
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return
	}
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if strings.HasPrefix(string(line), w.bin+"/containerd\x00") {
		for range 25 {
			if syscall.Kill(pid, syscall.SIGTERM) != nil {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// supervise starts containerd again whenever it has ended, until it is to stop.
func (w *worker) supervise(stopping <-chan os.Signal, ended chan<- error) {
	for {
		command := exec.Command(
			w.bin+"/containerd", "--root="+w.data+"/containerd", "--state="+k0sRun+"/containerd", "--address="+k0sSocket,
			"--log-level=info", "--config="+k0sConfig,
		)
		command.Dir = w.data
		command.Env = append(os.Environ(), "_K0S_MANAGED=yes", "PATH="+w.bin+":"+os.Getenv("PATH"))
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		output, input := io.Pipe()
		command.Stdout, command.Stderr = input, input
		go relay(output)
		if err := command.Start(); err != nil {
			ended <- err
			return
		}
		w.engine.Store(command.Process)
		pid := strconv.Itoa(command.Process.Pid)
		_ = os.WriteFile(k0sRun+"/containerd.pid", []byte(pid+"\n"), 0o644)
		say("info", "Started successfully, pid "+pid, "component=containerd")
		done := make(chan error, 1)
		go func() { done <- command.Wait() }()
		select {
		case err := <-done:
			say("warning", "Failed to wait for process", "component=containerd", fmt.Sprintf("error=%q", fmt.Sprint(err)))
		case <-stopping:
			_ = command.Process.Signal(syscall.SIGTERM)
			<-done
			ended <- nil
			return
		}
		say("info", "respawning in "+respawn.String(), "component=containerd")
		select {
		case <-time.After(respawn):
		case <-stopping:
			ended <- nil
			return
		}
	}
}

// relay passes containerd's lines on to the journal of our unit.
func relay(output io.Reader) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		say("info", lines.Text(), "component=containerd", "stream=stderr")
	}
}

// watch restarts containerd once nothing has happened in the directory for a while after a change.
func (w *worker) watch(watcher *fsnotify.Watcher) {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	for {
		select {
		case event := <-watcher.Events:
			if event.Has(fsnotify.Create) || event.Has(fsnotify.Remove) || event.Has(fsnotify.Write) || event.Has(fsnotify.Rename) {
				quiet.Reset(debounce)
			}
		case err := <-watcher.Errors:
			say("error", "error while watching drop-ins: "+err.Error(), "component=containerd")
		case <-quiet.C:
			w.changed()
		}
	}
}

func (w *worker) changed() {
	say("info", "restart requested", "component=containerd", "phase=restart")
	if !w.third { // from 1.36 on, containerd merges, and nothing is written anew
		if err := w.configure(); err != nil {
			say("warning", "failed to resolve config", "component=containerd", "phase=restart", fmt.Sprintf("error=%q", err.Error()))
			return
		}
	}
	if err := w.engine.Load().Signal(syscall.SIGHUP); err != nil {
		say("warning", "failed to send SIGHUP", "component=containerd", "phase=restart", fmt.Sprintf("error=%q", err.Error()))
	}
}
