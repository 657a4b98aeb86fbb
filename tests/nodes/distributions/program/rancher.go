// Copyright: (c) 2026, the confidential_containers.runtime authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
)

const rancherSocket = "/run/k3s/containerd/containerd.sock"

// These nodes hand no cgroup controllers to their containers: a wrapper keeps runc from asking for them.
const wrapper = "/usr/local/sbin/runc-without-cgroups"

//go:embed config.toml.base
var base2 string

//go:embed config-v3.toml.base
var base3 string

// generation is a schema of containerd's, with the template that replaces the built-in one.
type generation struct {
	schema         int
	template, base string
}

// As k3s looks for them.
var generations = []generation{{3, "config-v3.toml.tmpl", base3}, {2, "config.toml.tmpl", base2}}

// What a template is given, under the names that templates of administrators use.
type (
	values struct {
		NodeConfig            node
		DisableCgroup         bool
		SystemdCgroup         bool
		IsRunningInUserNS     bool
		EnableUnprivileged    bool
		NoDefaultEndpoint     bool
		NonrootDevices        bool
		PrivateRegistryConfig *registries
		ExtraRuntimes         map[string]extra
		Program               string
		Imports, Wrapper      string // ours: the glob that the base imports, and the node's runc
	}
	node struct {
		Containerd         daemon
		AgentConfig        agent
		SELinux, NoFlannel bool
		DefaultRuntime     string
	}
	daemon struct{ Address, Config, Log, Opt, Registry, Root, State, Template string }
	agent  struct {
		PauseImage, Snapshotter, CNIBinDir, CNIConfDir, ImageServiceSocket, NodeName string
	}
	registries struct{ Mirrors, Configs map[string]any }
	extra      struct{ RuntimeType, BinaryName string }
)

// rancher is k3s or RKE2: they differ in names only.
func rancher(program string, arguments []string) error {
	switches := settings(program)
	command := ""
	if len(arguments) > 0 {
		command = arguments[0]
	}
	data := option(arguments, "--data-dir", option(arguments, "-d", configured(program, "data-dir", "/var/lib/rancher/"+program)))
	bin, err := programs(program, data)
	if err != nil {
		return err
	}
	os.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	switch command {
	case "--version", "-v":
		fmt.Printf("%s version %s (imitation)\n", program, switches["RELEASE"])
		return nil
	case "ctr":
		environment := append(os.Environ(), "CONTAINERD_ADDRESS="+rancherSocket, "CONTAINERD_NAMESPACE=k8s.io")
		return become(bin+"/ctr", arguments[1:], environment)
	case "server", "agent":
		return supervise(program, data, bin, switches)
	}
	return fmt.Errorf("of %s, this imitates server, agent, ctr and --version, not %q", program, command)
}

// configured returns a value of the program's configuration: plain "key: value" lines of YAML.
func configured(program, key, otherwise string) string {
	files, _ := filepath.Glob("/etc/rancher/" + program + "/config.yaml.d/*.yaml")
	for _, path := range append([]string{"/etc/rancher/" + program + "/config.yaml"}, files...) {
		text, _ := os.ReadFile(path)
		for _, line := range strings.Split(string(text), "\n") {
			if value, ok := strings.CutPrefix(line, key+":"); ok {
				otherwise = strings.Trim(strings.TrimSpace(value), "'\"")
			}
		}
	}
	return otherwise
}

// layouts says, for each program, which link in the data directory leads to what it has unpacked, and where that has its programs.
var layouts = map[string]struct{ link, bin string }{"k3s": {"data/current", "bin"}, "rke2": {"bin", ""}}

// programs has containerd and its like in the data directory. Those of the default directory stand for what is packed into
// the real program.
func programs(program, data string) (string, error) {
	layout, original := layouts[program], "/var/lib/rancher/"+program
	target, err := filepath.EvalSymlinks(filepath.Join(original, layout.link))
	if err != nil {
		return "", err
	}
	target = data + strings.TrimPrefix(target, original)
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		script := `mkdir -p "$2" && cp -a "$1/data" "$2" && ln -sfn "$3" "$2/$4"`
		if err := exec.Command("sh", "-ec", script, "-", original, data, target, layout.link).Run(); err != nil {
			return "", fmt.Errorf("unpacking into %s: %w", data, err)
		}
	}
	return filepath.Join(target, layout.bin), nil
}

func supervise(program, data, bin string, switches map[string]string) error {
	release := switches["RELEASE"]
	etc := data + "/agent/etc/containerd"
	paths := daemon{
		Address: rancherSocket, Config: etc + "/config.toml", Template: etc, Registry: etc + "/certs.d",
		Log: data + "/agent/containerd/containerd.log", Opt: data + "/agent/containerd",
		Root: data + "/agent/containerd", State: "/run/k3s/containerd",
	}
	for _, directory := range []string{etc, paths.Root, paths.State} {
		if err := os.MkdirAll(directory, 0o711); err != nil {
			return err
		}
	}
	version, err := exec.Command(bin+"/containerd", "--version").Output()
	if err != nil {
		return err
	}
	second := strings.Contains(string(version), " 2.") || strings.Contains(string(version), " v2.")
	content := values{
		NodeConfig: node{
			Containerd: paths,
			AgentConfig: agent{
				PauseImage: "images.example.com/rancher/mirrored-pause:3.6", Snapshotter: "overlayfs",
				CNIBinDir: bin, CNIConfDir: data + "/agent/etc/cni/net.d",
			},
		},
		DisableCgroup: !second, IsRunningInUserNS: true, EnableUnprivileged: true, Program: program, Wrapper: wrapper,
	}
	rendered, err := render(etc, release, switches["IMPORTS"], second, content)
	if err != nil {
		return err
	}
	if err := os.WriteFile(paths.Config, rendered, 0o644); err != nil {
		return err
	}
	return engine(program, bin, paths)
}

// render returns what containerd is to read: the administrator's template in place of the built-in one.
func render(etc, release, imports string, second bool, content values) ([]byte, error) {
	offered := generations
	if !second {
		offered = offered[1:]
	}
	chosen, text := offered[0], offered[0].base
	for _, candidate := range offered {
		path := filepath.Join(etc, candidate.template)
		found, err := os.ReadFile(path)
		if err == nil {
			say("info", "Using containerd config template at "+path)
			chosen, text = candidate, string(found)
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if imports == "yes" || imports == "" && atLeast(release, 35, 3) {
		content.Imports = filepath.Join(etc, strings.TrimSuffix(chosen.template, ".tmpl")+".d", "*.toml")
	}
	parsed, err := template.New("compiled_template").Parse(text)
	if err != nil {
		return nil, err
	}
	if baseKnown(release) {
		if _, err := parsed.New("base").Parse(chosen.base); err != nil {
			return nil, err
		}
	}
	out := new(bytes.Buffer)
	err = parsed.Execute(out, content)
	return out.Bytes(), err
}

// baseKnown tells whether a template may include the built-in one: since the releases of September 2023.
func baseKnown(release string) bool {
	var minor, patch int
	fmt.Sscanf(release, "v1.%d.%d", &minor, &patch)
	since, ok := map[int]int{24: 17, 25: 13, 26: 8, 27: 5, 28: 1}[minor]
	return minor > 28 || ok && patch >= since
}

// engine runs containerd as long as it lives, and its end is ours.
func engine(program, bin string, paths daemon) error {
	log, err := os.OpenFile(paths.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	arguments := []string{
		"containerd", "-c", paths.Config, "-a", paths.Address, "--state", paths.State, "--root", paths.Root,
	}
	command := &exec.Cmd{
		Path: bin + "/containerd", Args: arguments, Env: environment(), Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	say("info", "Running "+strings.Join(arguments, " "))
	if err := command.Start(); err != nil {
		return err
	}
	go func() {
		_ = await(bin+"/ctr", paths.Address, 0)
		say("info", "Containerd is now running")
		ready()
	}()
	return fmt.Errorf("containerd exited: %v", command.Wait())
}

// environment is containerd's: CONTAINERD_X becomes X, and systemd hears of our start only.
func environment() []string {
	var variables []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "NOTIFY_SOCKET=") {
			variables = append(variables, strings.TrimPrefix(variable, "CONTAINERD_"))
		}
	}
	return variables
}
