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
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	ownNetwork "github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

const containerPort = "6379/tcp"

// startContainer starts a server in a container of its own, which is all that there is of it.
func startContainer(ctx context.Context) (url string, stop func(), err error) {
	c, err := runContainer(ctx, "0")
	if err != nil {
		return "", c.remove, err
	}
	port, err := c.MappedPort(ctx, containerPort)
	if err != nil {
		return "", c.remove, err
	}
	return "redis://127.0.0.1:" + port.Port(), c.remove, nil
}

// inContainer is a server in a container.
type inContainer struct{ testcontainers.Container }

// runContainer starts the image REDIS_IMAGE or, where that is not set, one that is built from this machine's own server
// and so needs no registry. The server is reached through a port of 127.0.0.1, "0" being any; args are added to its
// command line.
func runContainer(ctx context.Context, hostPort string, args ...string) (*inContainer, error) {
	image := os.Getenv("REDIS_IMAGE")
	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(containerPort),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
			host.PortBindings = network.PortMap{
				network.MustParsePort(containerPort): {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: hostPort}},
			}
		}),
		testcontainers.WithWaitStrategy(wait.ForLog("Ready to accept connections")),
		testcontainers.WithCmd(append([]string{"redis-server", "--save", "", "--protected-mode", "no"}, args...)...),
	}
	none := new(inContainer)
	if image == "" {
		build, err := ownImage(ctx)
		if err != nil {
			return none, err
		}
		options = append(options, testcontainers.WithDockerfile(testcontainers.FromDockerfile{ContextArchive: build}),
			testcontainers.WithEnv(map[string]string{"PATH": "/"}))
	}
	for name, value := range map[string]string{
		"TESTCONTAINERS_RYUK_DISABLED": "true", // which comes from a registry, too
		"TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
	} {
		if err := os.Setenv(name, value); err != nil {
			return none, err
		}
	}
	private := ownNetwork.WithNewNetwork(ctx, []string{"redis"}, ownNetwork.WithDriver("bridge"))
	c, err := testcontainers.Run(ctx, image, append(options, private)...)
	if c != nil {
		none.Container = c
	}
	return none, err
}

// remove ends the container, and its network.
func (c *inContainer) remove() {
	if c.Container == nil {
		return
	}
	ctx := context.Background()
	networks, _ := c.Networks(ctx)
	if err := testcontainers.TerminateContainer(c.Container); err != nil {
		fmt.Fprintln(os.Stderr, "server in a container:", err)
	}
	for _, name := range networks {
		if out, err := exec.CommandContext(ctx, "docker", "network", "rm", name).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "network of a server in a container: %v: %s\n", err, out)
		}
	}
}

// docker has something done to the container, as its administrator does: "pause", "unpause", "kill", "start".
func (c *inContainer) docker(tb testing.TB, command string) {
	tb.Helper()
	out, err := exec.CommandContext(context.Background(), "docker", command, c.GetContainerID()).CombinedOutput()
	require.NoError(tb, err, string(out))
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
