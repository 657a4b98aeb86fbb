// Copyright: (c) 2026, the confidential_containers.runtime authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command containerd-shim-kata-v2 stands in for Kata's shim on machines that boot no VMs: it is gVisor's
// shim, made to start from the handlers that are written for Kata, inside test nodes.
package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/events"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/runtime/v2/shim"
	"github.com/containerd/containerd/runtime/v2/task"
	"github.com/gogo/protobuf/proto"
	gvisor "gvisor.dev/gvisor/pkg/shim/v1"
	"gvisor.dev/gvisor/pkg/shim/v1/runtimeoptions"
)

// kata is gVisor's shim with the methods below in place of its own.
type kata struct{ shim.Shim }

func main() {
	shim.Run("io.containerd.kata.v2", func(ctx context.Context, id string, publisher shim.Publisher, cancel func()) (shim.Shim, error) {
		upstream, err := gvisor.New(ctx, id, patient{publisher}, cancel)
		return kata{upstream}, err
	})
}

// patient is a publisher that has no errors: an event for an engine that is just restarting is sent again later, and gVisor's
// shim would panic, which ends the pod.
type patient struct{ shim.Publisher }

func (p patient) Publish(ctx context.Context, topic string, event events.Event) error {
	_ = p.Publisher.Publish(ctx, topic, event)
	return nil
}

// Create makes a container of a request that was meant for Kata.
func (k kata) Create(ctx context.Context, request *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	if err := adaptOptions(request); err != nil {
		return nil, err
	}
	if err := dropCgroup(filepath.Join(request.Bundle, "config.json")); err != nil {
		return nil, err
	}
	return k.Shim.Create(ctx, request)
}

// adaptOptions says what the file named by ConfigPath is, which gVisor wants to hear and Kata's handlers
// do not say, and gives the options the type's name of today (containerd 1.4 had another).
func adaptOptions(request *task.CreateTaskRequest) error {
	if request.Options == nil {
		return nil
	}
	request.Options.TypeUrl = strings.TrimPrefix(request.Options.TypeUrl, "cri.")
	var options runtimeoptions.Options
	if err := proto.Unmarshal(request.Options.Value, &options); err != nil {
		return err
	}
	if options.TypeUrl == "" {
		options.TypeUrl = "io.containerd.runsc.v1.options"
	}
	value, err := proto.Marshal(&options)
	request.Options.Value = value
	return err
}

// dropCgroup takes the cgroup out of a bundle: test nodes have no controllers to put into it.
func dropCgroup(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec, linux map[string]json.RawMessage
	if err := json.Unmarshal(data, &spec); err != nil {
		return err
	}
	if err := json.Unmarshal(spec["linux"], &linux); err != nil {
		return err
	}
	delete(linux, "cgroupsPath")
	if spec["linux"], err = json.Marshal(linux); err != nil {
		return err
	}
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// StartShim starts this program again as the service that containerd will talk to. gVisor's own also
// lowers the service's OOM score, and gives up where it may not.
func (kata) StartShim(ctx context.Context, start shim.StartOpts) (string, error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return "", err
	}
	address, err := shim.SocketAddress(ctx, start.Address, start.ID)
	if err != nil {
		return "", err
	}
	if shim.CanConnect(address) { // the pod's service runs already
		return address, shim.WriteAddress("address", address)
	}
	_ = shim.RemoveSocket(address) // one that nobody listens on
	listener, err := shim.NewSocket(address)
	if err != nil {
		return "", err
	}
	socket, err := listener.File() // and neither is closed here: that would remove the socket's name
	if err != nil {
		return "", err
	}

	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	service := exec.Command(self, "-namespace", namespace, "-address", start.Address,
		"-publish-binary", start.ContainerdBinary)
	service.ExtraFiles = []*os.File{socket} // found there by shim.Run
	service.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := service.Start(); err != nil {
		return "", err
	}
	if err := shim.WritePidFile("shim.pid", service.Process.Pid); err != nil {
		return "", err
	}
	return address, shim.WriteAddress("address", address)
}
