package integration

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

const containerPort = "6379/tcp"

// startContainer starts the image REDIS_IMAGE or, where that is not set, one that is built from this
// machine's own server and so needs no registry.
func startContainer(ctx context.Context) (url string, stop func(), err error) {
	image := os.Getenv("REDIS_IMAGE")
	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(containerPort),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
			host.PortBindings = network.PortMap{
				network.MustParsePort(containerPort): {{HostIP: netip.MustParseAddr("127.0.0.1")}},
			}
		}),
		testcontainers.WithWaitStrategy(wait.ForLog("Ready to accept connections")),
	}
	if image == "" {
		build, err := ownImage(ctx)
		if err != nil {
			return "", func() {}, err
		}
		options = append(options, testcontainers.WithDockerfile(testcontainers.FromDockerfile{ContextArchive: build}))
		// The helper that removes what a killed test leaves behind comes from a registry, too.
		if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
			return "", func() {}, err
		}
	}

	server, err := testcontainers.Run(ctx, image, options...)
	stop = func() {
		if err := testcontainers.TerminateContainer(server); err != nil {
			fmt.Fprintln(os.Stderr, "server in a container:", err)
		}
	}
	if err != nil {
		return "", stop, err
	}
	port, err := server.MappedPort(ctx, containerPort)
	if err != nil {
		return "", stop, err
	}
	return "redis://127.0.0.1:" + port.Port(), stop, nil
}

// ownImage returns what to build an image from that holds this machine's server and the libraries it loads.
func ownImage(ctx context.Context) (io.ReadSeeker, error) {
	program, err := redistest.Program()
	if err != nil {
		return nil, fmt.Errorf("name an image in REDIS_IMAGE: %w", err)
	}
	libraries, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("libraries of %s: %w", program, err)
	}

	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	add := func(name string, mode int64, content []byte) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	addFrom := func(name, path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return add(name, 0o755, content)
	}

	const dockerfile = `FROM scratch
COPY root /
CMD ["/redis-server", "--save", "", "--protected-mode", "no"]
`
	if err := add("Dockerfile", 0o644, []byte(dockerfile)); err != nil {
		return nil, err
	}
	if err := addFrom("root/redis-server", program); err != nil {
		return nil, err
	}
	for _, match := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(libraries), -1) {
		if err := addFrom("root"+match[1], match[1]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return bytes.NewReader(archive.Bytes()), nil
}
