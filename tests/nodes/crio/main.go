// Copyright: (c) 2026, the confidential_containers.runtime authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A stand-in for CRI-O, whose module cannot be had everywhere. It does what the collection relies on, as CRI-O's sources have it:
// it reads the main file and every file below the directory of drop-ins with the same TOML library, prints what it makes of them
// ("config"), warns of handlers that lack something and leaves them out when it starts, and answers the CRI and HTTP on one socket.
// Its pods are only names: they start where the handler's program is, outlive a restart, and run nothing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"
	"github.com/soheilhy/cmux"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type Handler struct {
	Path        string   `toml:"runtime_path"`
	Type        string   `toml:"runtime_type"`
	Root        string   `toml:"runtime_root"`
	Config      string   `toml:"runtime_config_path"`
	Privileged  bool     `toml:"privileged_without_host_devices"`
	Annotations []string `toml:"allowed_annotations"`
	Pull        bool     `toml:"runtime_pull_image"`
}

type Config struct {
	Crio struct {
		Root string `toml:"root"`
		API  struct {
			Listen string `toml:"listen"`
		} `toml:"api"`
		Runtime struct {
			Default  string              `toml:"default_runtime"`
			Level    string              `toml:"log_level"`
			Runtimes map[string]*Handler `toml:"runtimes"`
		} `toml:"runtime"`
		Image struct {
			Auth  string `toml:"global_auth_file"`
			Pause string `toml:"pause_image"`
		} `toml:"image"`
	} `toml:"crio"`
}

const printed = `# Written by the stand-in for CRI-O.
[crio]

{{ mark .Root default.Root }}root = "{{ .Root }}"

[crio.api]

{{ mark .API.Listen default.API.Listen }}listen = "{{ .API.Listen }}"

[crio.runtime]

{{ mark .Runtime.Default default.Runtime.Default }}default_runtime = "{{ .Runtime.Default }}"

{{ mark .Runtime.Level default.Runtime.Level }}log_level = "{{ .Runtime.Level }}"

# Each handler has a table in this form:
#
# [crio.runtime.runtimes.runtime-handler]
# runtime_path = "/path/to/the/executable"
# runtime_type = "oci"
{{ $c := mark .Runtime.Runtimes default.Runtime.Runtimes }}{{ range $name, $handler := .Runtime.Runtimes }}
{{ $c }}[crio.runtime.runtimes.{{ $name }}]
{{ $c }}runtime_path = "{{ $handler.Path }}"
{{ $c }}runtime_type = "{{ $handler.Type }}"
{{ $c }}runtime_root = "{{ $handler.Root }}"
{{ $c }}runtime_config_path = "{{ $handler.Config }}"
{{ if $handler.Annotations }}{{ $c }}allowed_annotations = [
{{ range $handler.Annotations }}{{ $c }}{{ printf "\t%q,\n" . }}{{ end }}{{ $c }}]{{ end }}
{{ $c }}privileged_without_host_devices = {{ $handler.Privileged }}

{{ end }}
# Example:
# [crio.runtime.workloads.workload-type]
# annotation_prefix = "io.crio.workload-type"

[crio.image]

{{ mark .Image.Auth default.Image.Auth }}global_auth_file = "{{ .Image.Auth }}"

{{ mark .Image.Pause default.Image.Pause }}pause_image = "{{ .Image.Pause }}"

`

func defaults() *Config {
	config := &Config{}
	config.Crio.Root = "/var/lib/containers/storage"
	config.Crio.API.Listen = "/var/run/crio/crio.sock"
	config.Crio.Runtime.Default = "crun"
	config.Crio.Runtime.Level = "info"
	config.Crio.Runtime.Runtimes = map[string]*Handler{"crun": {Type: "oci", Root: "/run/crun"}}
	config.Crio.Image.Pause = "registry.k8s.io/pause:3.10"
	return config
}

func read(main string, named bool, directory string) (*Config, error) {
	config := defaults()
	decode := func(path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := toml.Decode(string(data), config); err != nil {
			return fmt.Errorf("unable to decode configuration %v: %w", path, err)
		}
		return nil
	}
	if main != "" {
		if err := decode(main); err != nil && (named || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
	}
	if _, err := os.Stat(directory); err != nil {
		return config, nil
	}
	return config, filepath.Walk(directory, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		return decode(path)
	})
}

func (config *Config) print() error {
	functions := template.FuncMap{
		"default": func() any { return defaults().Crio },
		"mark": func(one, two any) string {
			if reflect.DeepEqual(one, two) {
				return "# "
			}
			return ""
		},
	}
	return template.Must(template.New("").Funcs(functions).Parse(printed)).Execute(os.Stdout, config.Crio)
}

var shim = regexp.MustCompile(`^containerd-shim-[a-zA-Z0-9\-\+]+$`)

func (handler *Handler) flaw(name string) error {
	if handler.Path == "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return fmt.Errorf("%q not found in $PATH: %w", name, err)
		}
		handler.Path = path
	} else if _, err := os.Stat(handler.Path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("invalid runtime_path for runtime '%s': %w", name, err)
	}
	if handler.Type == "vm" && !shim.MatchString(filepath.Base(handler.Path)) {
		return fmt.Errorf("invalid runtime_path for runtime '%s': containerd binary naming pattern is not followed", name)
	}
	if handler.Config != "" {
		if _, err := os.Stat(handler.Config); handler.Type != "vm" || errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("invalid runtime_config_path for runtime '%s': %w", name, err)
		}
	}
	for _, annotation := range handler.Annotations {
		if !strings.HasPrefix(annotation, "io.kubernetes.cri-o.") {
			return fmt.Errorf("invalid allowed_annotation: %s", annotation)
		}
	}
	return nil
}

func (config *Config) validate() error {
	runtime := config.Crio.Runtime
	if runtime.Runtimes[runtime.Default] == nil {
		return fmt.Errorf("default_runtime set to %q, but no runtime entry was found with that name", runtime.Default)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error", "fatal"}, runtime.Level) {
		return fmt.Errorf("not a valid logrus Level: %q", runtime.Level)
	}
	for _, name := range slices.Sorted(maps.Keys(runtime.Runtimes)) {
		if err := runtime.Runtimes[name].flaw(name); err != nil {
			if name == runtime.Default {
				return err
			}
			say("warning", "Runtime handler %q is being ignored due to: %v", name, err)
			delete(runtime.Runtimes, name)
		}
	}
	return nil
}

func say(level string, words string, values ...any) {
	fmt.Fprintf(os.Stderr, "level=%s msg=%q\n", level, fmt.Sprintf(words, values...))
}

// What a sandbox leaves on the disk, so that it outlives a restart.
const remembered = "/run/crio/stand-in.json"

type Sandbox struct {
	Name, Namespace, Handler string
}

type Server struct {
	cri.UnimplementedRuntimeServiceServer
	config    *Config
	version   string
	sandboxes map[string]Sandbox
}

func (server *Server) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{Version: "0.1.0", RuntimeName: "cri-o", RuntimeVersion: server.version, RuntimeApiVersion: "v1"}, nil
}

func (server *Server) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	answer := &cri.StatusResponse{
		Status: &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{{Type: cri.RuntimeReady, Status: true}, {Type: cri.NetworkReady, Reason: "NetworkPluginNotReady"}}},
		Info:   map[string]string{"config": `{"sandboxImage":"pause"}`},
	}
	if strings.Compare(server.version, "1.30") >= 0 {
		for name := range server.config.Crio.Runtime.Runtimes {
			answer.RuntimeHandlers = append(answer.RuntimeHandlers, &cri.RuntimeHandler{Name: name, Features: &cri.RuntimeHandlerFeatures{}})
			if name == server.config.Crio.Runtime.Default {
				answer.RuntimeHandlers = append(answer.RuntimeHandlers, &cri.RuntimeHandler{})
			}
		}
	}
	return answer, nil
}

func (server *Server) RunPodSandbox(_ context.Context, request *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	handler := request.RuntimeHandler
	if handler != "" && server.config.Crio.Runtime.Runtimes[handler] == nil {
		return nil, fmt.Errorf("failed to find runtime handler %s from runtime list", handler)
	}
	metadata := request.Config.Metadata
	id := fmt.Sprintf("%064x", len(server.sandboxes)+1)
	server.sandboxes[id] = Sandbox{metadata.Name, metadata.Namespace, handler}
	return &cri.RunPodSandboxResponse{PodSandboxId: id}, server.remember()
}

func (server *Server) StopPodSandbox(context.Context, *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	return &cri.StopPodSandboxResponse{}, nil
}

func (server *Server) RemovePodSandbox(_ context.Context, request *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	delete(server.sandboxes, request.PodSandboxId)
	return &cri.RemovePodSandboxResponse{}, server.remember()
}

// CRI-O leaves the handler empty here.
func (server *Server) ListPodSandbox(context.Context, *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	answer := &cri.ListPodSandboxResponse{}
	for id, found := range server.sandboxes {
		answer.Items = append(answer.Items, &cri.PodSandbox{Id: id, Metadata: &cri.PodSandboxMetadata{Name: found.Name, Namespace: found.Namespace}})
	}
	return answer, nil
}

func (server *Server) PodSandboxStatus(_ context.Context, request *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	found, there := server.sandboxes[request.PodSandboxId]
	if !there {
		return nil, fmt.Errorf("specified pod sandbox not found: %s", request.PodSandboxId)
	}
	answer := &cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{Id: request.PodSandboxId}}
	if request.Verbose {
		annotations := map[string]string{"io.kubernetes.cri-o.RuntimeHandler": found.Handler}
		info, err := json.Marshal(map[string]any{"runtimeSpec": map[string]any{"annotations": annotations}})
		if err != nil {
			return nil, err
		}
		answer.Info = map[string]string{"info": string(info)}
	}
	return answer, nil
}

func (server *Server) remember() error {
	data, err := json.Marshal(server.sandboxes)
	if err != nil {
		return err
	}
	return os.WriteFile(remembered, data, 0o600)
}

func (server *Server) serve() error {
	if data, err := os.ReadFile(remembered); err == nil {
		if err := json.Unmarshal(data, &server.sandboxes); err != nil {
			return err
		}
	}
	address := server.config.Crio.API.Listen
	if err := os.MkdirAll(filepath.Dir(address), 0o755); err != nil {
		return err
	}
	if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}
	mux := cmux.New(listener)
	calls := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(calls, server)
	pages := http.NewServeMux()
	pages.HandleFunc("GET /config", func(writer http.ResponseWriter, _ *http.Request) {
		if err := toml.NewEncoder(writer).Encode(server.config); err != nil {
			say("error", "%v", err)
		}
	})
	plain, rest := mux.Match(cmux.HTTP1Fast()), mux.Match(cmux.Any())
	go func() { log.Fatal(http.Serve(plain, pages)) }()
	go func() { log.Fatal(calls.Serve(rest)) }()
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		connection, err := net.Dial("unixgram", socket)
		if err != nil {
			return err
		}
		if _, err := connection.Write([]byte("READY=1")); err != nil {
			return err
		}
	}
	return mux.Serve()
}

// The version that it plays. A file beside the program can name another one.
func version(program string) string {
	if data, err := os.ReadFile(program + ".version"); err == nil {
		return strings.TrimSpace(string(data))
	}
	return "1.34.1"
}

func main() {
	program, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	main := flag.String("config", "/etc/crio/crio.conf", "")
	directory := flag.String("config-dir", "/etc/crio/crio.conf.d", "")
	listen := flag.String("listen", "", "")
	asked := flag.Bool("version", false, "")
	flag.Parse()
	if *asked {
		fmt.Printf("crio version %s\nA stand-in for it.\n", version(program))
		return
	}
	named := false
	flag.Visit(func(found *flag.Flag) { named = named || found.Name == "config" })
	config, err := read(*main, named, *directory)
	if err == nil && *listen != "" {
		config.Crio.API.Listen = *listen
	}
	if err == nil && flag.Arg(0) == "config" {
		err = config.print()
	} else if err == nil {
		if err = config.validate(); err == nil {
			err = (&Server{config: config, version: version(program), sandboxes: map[string]Sandbox{}}).serve()
		}
	}
	if err != nil {
		say("fatal", "%v", err)
		os.Exit(1)
	}
}
