package main

import (
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// paint makes images to be made smaller.
func paint(dir string, n int) error {
	for i := range n {
		img := image.NewRGBA(image.Rect(0, 0, 640+16*i, 480))
		size := img.Bounds().Size()
		for y := range size.Y {
			for x := range size.X {
				img.SetRGBA(x, y, color.RGBA{
					R: uint8(255 * x / size.X), G: uint8(255 * y / size.Y), B: uint8((x ^ y) + 20*i), A: 255,
				})
			}
		}
		if err := write(filepath.Join(dir, fmt.Sprintf("image-%02d.png", i)), img); err != nil {
			return err
		}
	}
	return nil
}

// jobsOf lists the images of a directory.
func jobsOf(cfg config) ([]Job, error) {
	entries, err := os.ReadDir(cfg.from)
	if err != nil {
		return nil, err
	}
	var jobs []Job
	for _, e := range entries {
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if e.Type().IsRegular() && slices.Contains([]string{".png", ".jpg", ".jpeg"}, ext) {
			jobs = append(jobs, Job{
				From: filepath.Join(cfg.from, e.Name()), To: filepath.Join(cfg.to, e.Name()+".thumb.png"), Width: cfg.width, Pace: cfg.pace,
			})
		}
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("no images in %s", cfg.from)
	}
	return jobs, nil
}
