package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redisallocator/redisallocator/internal/redistest"
)

// TestMain is also the workers, which are started from the test's own program.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-worker" {
		main()
		return
	}
	redistest.Main(m)
}

func TestNoImageIsLostWhenAWorkerIsKilled(t *testing.T) {
	url := redistest.URL(t)
	t.Setenv("REDIS_URL", url) // for the workers
	to := t.TempDir()
	var out bytes.Buffer
	cfg := config{redis: url, to: to, paint: 8, width: 40, pace: 2 * time.Millisecond, kill: true, run: redistest.Prefix(t)}
	require.NoError(t, run(t.Context(), cfg, &out))
	t.Log(out.String())
	assert.Regexp(t, `worker \d+ is killed`, out.String())
	assert.Regexp(t, regexp.MustCompile(`8 thumbnails; \d were begun again`), out.String())
	thumbs, err := filepath.Glob(filepath.Join(to, "*.thumb.png"))
	require.NoError(t, err)
	require.Len(t, thumbs, 8)
	for _, path := range thumbs {
		img, err := read(path)
		require.NoError(t, err)
		assert.Equal(t, 40, img.Bounds().Dx())
	}
}

func TestWhatIsNoImageFails(t *testing.T) {
	url := redistest.URL(t)
	t.Setenv("REDIS_URL", url)
	from := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(from, "text.png"), []byte("text"), 0o600))
	var out bytes.Buffer
	err := run(t.Context(), config{redis: url, from: from, width: 40, kill: true, run: redistest.Prefix(t)}, &out)
	require.ErrorIs(t, err, ErrNoImage)
	require.Error(t, run(t.Context(), config{redis: url, from: t.TempDir()}, &out), "there are none")
	require.Error(t, run(t.Context(), config{from: from}, &out), "there is no store")
}

func TestShrink(t *testing.T) {
	img := image.NewGray(image.Rect(10, 10, 14, 12))
	for x := 12; x < 14; x++ {
		img.SetGray(x, 10, color.Gray{Y: 100})
		img.SetGray(x, 11, color.Gray{Y: 200})
	}
	rows := 0
	small, err := shrink(t.Context(), img, Job{Width: 2}, func(int, int) { rows++ })
	require.NoError(t, err)
	assert.Equal(t, image.Rect(0, 0, 2, 1), small.Bounds())
	assert.Equal(t, color.RGBA{A: 255}, small.RGBAAt(0, 0))
	assert.Equal(t, color.RGBA{R: 150, G: 150, B: 150, A: 255}, small.RGBAAt(1, 0))
	assert.Equal(t, 2, rows)
	path := filepath.Join(t.TempDir(), "x.png")
	require.NoError(t, write(path, small))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	_, err = png.Decode(f)
	require.NoError(t, err)
}
