module distribution

go 1.25.5

require (
	github.com/fsnotify/fsnotify v1.9.0
	github.com/pelletier/go-toml/v2 v2.4.3
)

require golang.org/x/sys v0.13.0 // indirect
