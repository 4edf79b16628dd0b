package benchmarks

import (
	"bytes"
	"image/color"
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	chartWidth  = 8 * vg.Inch
	chartHeight = 4.2 * vg.Inch
	legendWidth = 2.1 * vg.Inch // beside the plot, so that it hides nothing
	textSize    = 11
)

// A look is that of a line. Two lines of one library have the same colour.
type look int

const (
	ourLine look = iota
	ourSecond
	theirLine
	theirSecond
	thirdLine
	fourthLine
	floorLine
)

// styles are those of the looks. The colours can be told apart by everybody, and so can the marks.
var styles = [...]struct {
	color color.Color
	mark  draw.GlyphDrawer
	width vg.Length
	dash  []vg.Length
}{
	ourLine:     {color.RGBA{0, 114, 178, 255}, draw.CircleGlyph{}, 2.2, nil},
	ourSecond:   {color.RGBA{0, 114, 178, 255}, draw.RingGlyph{}, 1.8, []vg.Length{5, 3}},
	theirLine:   {color.RGBA{213, 94, 0, 255}, draw.PyramidGlyph{}, 1.4, nil},
	theirSecond: {color.RGBA{213, 94, 0, 255}, draw.TriangleGlyph{}, 1.4, []vg.Length{5, 3}},
	thirdLine:   {color.RGBA{0, 158, 115, 255}, draw.SquareGlyph{}, 1.4, nil},
	fourthLine:  {color.RGBA{204, 121, 167, 255}, draw.CrossGlyph{}, 1.4, nil},
	floorLine:   {color.RGBA{110, 110, 110, 255}, draw.BoxGlyph{}, 1.4, []vg.Length{2, 2}},
}

var (
	light = color.Gray{225}
	sans  = font.Font{Typeface: "Liberation", Variant: "Sans"}
)

// draw gives the picture, on white, which is readable wherever it is shown.
func (c *chart) draw() ([]byte, error) {
	p, legend := c.frame(), plot.NewLegend()
	legend.Top, legend.Left = true, true
	setFont(&legend.TextStyle.Font, textSize)
	legend.Padding = vg.Points(4)
	legend.ThumbnailWidth = vg.Points(26)
	for _, l := range c.lines {
		shown, err := l.draw()
		if err != nil {
			return nil, err
		}
		p.Add(shown...)
		thumbnails := make([]plot.Thumbnailer, 0, len(shown))
		for _, s := range shown {
			if t, ok := s.(plot.Thumbnailer); ok {
				thumbnails = append(thumbnails, t)
			}
		}
		legend.Add(l.name, thumbnails...)
	}
	c.x.fit(&p.X)
	c.y.fit(&p.Y)

	canvas := vgsvg.New(chartWidth, chartHeight)
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Path())
	whole = draw.Crop(whole, 6, -6, 6, -6)
	p.Draw(draw.Crop(whole, 0, -legendWidth, 0, 0))
	legend.Draw(draw.Crop(whole, chartWidth-legendWidth, 0, 0, -vg.Points(2*textSize)))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	// Where that font is missing there is one of the same widths, or at least one without serifs.
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

// frame gives all but the lines.
func (c *chart) frame() *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x.label, c.y.label
	setFont(&p.Title.TextStyle.Font, textSize+2)
	p.Title.Padding = vg.Points(8)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		setFont(&a.Label.TextStyle.Font, textSize)
		setFont(&a.Tick.Label.Font, textSize-1)
		a.Label.Padding = vg.Points(4)
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = light, light
	p.Add(grid)
	return p
}

func setFont(f *font.Font, size float64) {
	*f = sans
	f.Size = font.Length(size)
}

// draw gives what is seen of the line: the line itself, marks if there are few points, and bars between the
// smallest and the largest.
func (l *line) draw() ([]plot.Plotter, error) {
	const few = 50
	xy := make(plotter.XYs, len(l.points))
	bars := struct {
		plotter.XYs
		plotter.YErrors
	}{xy, make(plotter.YErrors, len(l.points))}
	for j, p := range l.points {
		xy[j] = plotter.XY{X: p.x, Y: p.y}
		bars.YErrors[j].Low, bars.YErrors[j].High = p.y-p.low, p.high-p.y
	}
	s, err := plotter.NewLine(xy)
	if err != nil {
		return nil, err
	}
	style := styles[l.look]
	s.Color, s.Width, s.Dashes = style.color, style.width, style.dash
	if len(xy) > few {
		return []plot.Plotter{s}, nil
	}
	marks, err := plotter.NewScatter(xy)
	if err != nil {
		return nil, err
	}
	marks.Color, marks.Shape, marks.Radius = style.color, style.mark, vg.Points(3)
	spread, err := plotter.NewYErrorBars(bars)
	if err != nil {
		return nil, err
	}
	spread.Color, spread.Width, spread.CapWidth = style.color, 0.8, vg.Points(5)
	return []plot.Plotter{spread, s, marks}, nil
}

// An axis of a chart.
type axis struct {
	label string // with the unit
	base  int    // of the logarithm: 2, 10, or 0 for none
}

// fit gives an axis, whose range is known, its scale and its ticks.
func (a axis) fit(to *plot.Axis) {
	if a.base != 0 {
		to.Scale = plot.LogScale{}
	}
	to.Tick.Marker = plot.TickerFunc(a.ticks)
	to.Padding = 0
	switch a.base {
	case 2: // some room at both ends
		to.Min, to.Max = to.Min/1.15, to.Max*1.15
	case 10:
		to.Min, to.Max = to.Min/1.2, to.Max*1.2
	default:
		to.Min, to.Max = 0, math.Max(1, to.Max)
	}
}

// ticks gives those between two values: each power of 2, or 1, 2 and 5 times each power of 10, or tenths.
func (a axis) ticks(least, most float64) (list []plot.Tick) {
	add := func(v float64, label bool) {
		t := plot.Tick{Value: v}
		if label {
			t.Label = tickLabel(v)
		}
		if v >= least && v <= most {
			list = append(list, t)
		}
	}
	switch a.base {
	case 2:
		for v := math.Exp2(math.Floor(math.Log2(least))); v <= most; v *= 2 {
			add(v, true)
		}
	case 10:
		wide := most/least > 1e4 // then 2 and 5 would be too many
		for e := math.Floor(math.Log10(least)); e <= math.Log10(most); e++ {
			for digit := 1.0; digit < 10; digit++ {
				add(digit*math.Pow(10, e), digit == 1 || !wide && (digit == 2 || digit == 5))
			}
		}
	default:
		for tenth := math.Ceil(10 * least); tenth <= 10*most; tenth++ {
			add(tenth/10, int(tenth)%2 == 0)
		}
	}
	return list
}

// tickLabel writes a number with all its digits and no more.
func tickLabel(v float64) string {
	text, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'g', 6, 64), ".")
	if v >= 1e6 {
		text, fraction = strconv.FormatFloat(v, 'f', 0, 64), ""
	}
	text = grouped(text)
	if fraction != "" {
		text += "." + fraction
	}
	return text
}
