module confidential-containers.invalid/tests/nodes/crio

go 1.24.0

require (
	github.com/BurntSushi/toml v1.5.0
	github.com/soheilhy/cmux v0.1.5
	google.golang.org/grpc v1.72.2
	k8s.io/cri-api v0.34.2
)

require (
	golang.org/x/net v0.38.0 // indirect
	golang.org/x/sys v0.31.0 // indirect
	golang.org/x/text v0.23.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20250303144028-a0af3efb3deb // indirect
	google.golang.org/protobuf v1.36.5 // indirect
)
