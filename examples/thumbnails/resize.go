package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // to be read
	"image/png"
	"os"
	"time"

	"github.com/redisallocator/redisallocator/task"
)

// Job is an image to be made smaller.
type Job struct {
	From  string        `json:"from"`
	To    string        `json:"to"`
	Width int           `json:"width"`
	Pace  time.Duration `json:"pace"`
}

// Thumbnail is what came of it.
type Thumbnail struct {
	Width   int `json:"width"`
	Height  int `json:"height"`
	Worker  int `json:"worker"`  // the process
	Attempt int `json:"attempt"` // more than 1 after a death
}

// ErrNoImage is what becomes of a file that is no image. It is final: another attempt would not help.
var ErrNoImage = &task.Error{Code: "no_image", Message: "no image"}

// resize is the handler. It may be begun again after it was cut off anywhere, even while an earlier attempt still runs:
// what it writes appears at once, under its last name.
func resize(ctx context.Context, t *task.Task[Job]) (none Thumbnail, err error) {
	job := t.Params()
	src, err := read(job.From)
	if err != nil {
		return none, err
	}
	dst, err := shrink(ctx, src, job, func(row, rows int) { _ = t.Progress(int64(row), int64(rows), "") })
	if err != nil {
		return none, err
	}
	part := fmt.Sprintf("%s.%d", job.To, t.Fence())
	if err := write(part, dst); err != nil {
		return none, err
	}
	if err := os.Rename(part, job.To); err != nil {
		return none, err
	}
	size := dst.Bounds()
	return Thumbnail{Width: size.Dx(), Height: size.Dy(), Worker: os.Getpid(), Attempt: t.Attempt()}, nil
}

func read(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, task.Final(err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil || img.Bounds().Empty() {
		return nil, fmt.Errorf("%s: %w", path, ErrNoImage)
	}
	return img, nil
}

func write(path string, img image.Image) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := png.Encode(f, img); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// shrink gives each pixel the mean of those that it stands for.
func shrink(ctx context.Context, src image.Image, job Job, report func(row, rows int)) (*image.RGBA, error) {
	from := src.Bounds()
	width := min(max(job.Width, 1), from.Dx())
	height := max(from.Dy()*width/from.Dx(), 1)
	dst := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		report(y, height)
		for x := range width {
			dst.Set(x, y, mean(src, image.Rect(
				from.Min.X+x*from.Dx()/width, from.Min.Y+y*from.Dy()/height,
				from.Min.X+(x+1)*from.Dx()/width, from.Min.Y+max((y+1)*from.Dy()/height, y*from.Dy()/height+1))))
		}
		select {
		case <-time.After(job.Pace):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	report(height, height)
	return dst, nil
}

func mean(img image.Image, part image.Rectangle) color.Color {
	var sum [4]uint64
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			r, g, b, a := img.At(x, y).RGBA()
			sum[0], sum[1], sum[2], sum[3] = sum[0]+uint64(r), sum[1]+uint64(g), sum[2]+uint64(b), sum[3]+uint64(a)
		}
	}
	n := uint64(part.Dx() * part.Dy())
	return color.RGBA64{R: uint16(sum[0] / n), G: uint16(sum[1] / n), B: uint16(sum[2] / n), A: uint16(sum[3] / n)}
}
