package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// A line is one curve of a chart. Points with NaN are gaps.
type line struct {
	name   string
	color  int // of the page's palette
	dashed bool
	x, y   []float64
}

// A scale turns values into positions from 0 to 1, and says where its ticks are.
type scale struct {
	position func(v float64) float64
	ticks    []float64
	label    func(v float64) string
}

// linear begins at 0 and ends at a round number of at least most.
func linear(most float64, label func(float64) string) scale {
	if !(most > 0) {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{0.2, 0.5, 1, 2} {
		if most/(step*f) <= 5 {
			step *= f
			break
		}
	}
	end := step * math.Ceil(most/step-1e-9)
	s := scale{position: func(v float64) float64 { return v / end }, label: label}
	for i := 0.0; i*step <= end*(1+1e-9); i++ {
		s.ticks = append(s.ticks, i*step)
	}
	return s
}

// logarithmic covers whole powers of ten.
func logarithmic(least, most float64, label func(float64) string) scale {
	least, most = math.Max(least, 1), math.Max(most, 1)
	from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	if to <= from {
		to = from + 1
	}
	s := scale{position: func(v float64) float64 { return (math.Log10(math.Max(v, 1)) - from) / (to - from) }, label: label}
	for e := from; e <= to; e++ {
		s.ticks = append(s.ticks, math.Pow(10, e))
	}
	return s
}

// nines spreads quantiles by how much is above them: each nine has the same width.
func nines(count float64) scale {
	end := math.Max(math.Ceil(math.Log10(math.Max(count, 10))), 2)
	s := scale{
		position: func(q float64) float64 { return math.Min(-math.Log10(math.Max(1-q, 1e-12))/end, 1) },
		label: func(q float64) string {
			if q == 0 {
				return "0"
			}
			return fmt.Sprintf("%.*f", int(math.Max(math.Round(-math.Log10(1-q))-2, 0)), q*100) + "%"
		},
		ticks: []float64{0, 0.5},
	}
	for e := 1.0; e <= end; e++ {
		s.ticks = append(s.ticks, 1-math.Pow(10, -e))
	}
	return s
}

// Size of a chart and of its margins, in the units of its own picture.
const (
	chartWidth, chartHeight  = 640, 300
	left, right, top, bottom = 74, 30, 14, 34
)

// plot draws lines. The hint, in small letters behind the title, may be empty.
func plot(title, hint string, x, y scale, lines []line) template.HTML {
	var b strings.Builder
	px := func(v float64) float64 { return left + x.position(v)*(chartWidth-left-right) }
	py := func(v float64) float64 { return chartHeight - bottom - y.position(v)*(chartHeight-top-bottom) }
	fmt.Fprintf(&b, `<figure class="chart"><figcaption>%s <small>%s</small></figcaption><svg viewBox="0 0 %d %d" role="img" aria-label="%s">`,
		html.EscapeString(title), html.EscapeString(hint), chartWidth, chartHeight, html.EscapeString(title))
	for _, v := range y.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			left, chartWidth-right, py(v), py(v), left-8, py(v)+4, html.EscapeString(y.label(v)))
	}
	for _, v := range x.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			px(v), px(v), top, chartHeight-bottom, px(v), chartHeight-bottom+18, html.EscapeString(x.label(v)))
	}
	for _, l := range lines {
		class := fmt.Sprintf("line c%d", l.color%palette)
		if l.dashed {
			class += " dashed"
		}
		fmt.Fprintf(&b, `<path class="%s" d="`, class)
		pen := "M"
		for i := range l.x {
			if math.IsNaN(l.y[i]) {
				pen = "M"
				continue
			}
			fmt.Fprintf(&b, "%s%.1f %.1f", pen, px(l.x[i]), py(l.y[i]))
			if pen == "M" {
				b.WriteString("h0") // or nothing is seen of a point between two gaps
			}
			pen = "L"
		}
		b.WriteString(`"/>`)
		for i := range l.x { // invisible until the mouse finds them
			if !math.IsNaN(l.y[i]) {
				fmt.Fprintf(&b, `<circle class="dot c%d" cx="%.1f" cy="%.1f" r="5"><title>%s: %s at %s</title></circle>`, l.color%palette,
					px(l.x[i]), py(l.y[i]), html.EscapeString(l.name), html.EscapeString(y.label(l.y[i])), html.EscapeString(x.label(l.x[i])))
			}
		}
	}
	b.WriteString("</svg></figure>")
	return template.HTML(b.String())
}

// palette is how many colours the page has.
const palette = 8

// bars compares one figure of several results, leaving out those that are NaN.
func bars(title, hint string, names []string, values []float64, format func(float64) string) template.HTML {
	most := 0.0
	for _, v := range values {
		if v > most {
			most = v
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<figure class="bars"><figcaption>%s <small>%s</small></figcaption>`, html.EscapeString(title), html.EscapeString(hint))
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		width := 0.0
		if most > 0 {
			width = 100 * math.Max(v, 0) / most
		}
		fmt.Fprintf(&b, `<div class="bar"><span class="name">%s</span><span class="track"><span class="fill c%d" style="width:%.1f%%"></span></span><span class="value">%s</span></div>`,
			html.EscapeString(names[i]), i%palette, width, html.EscapeString(format(v)))
	}
	b.WriteString("</figure>")
	return template.HTML(b.String())
}
