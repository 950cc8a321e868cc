package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"carillon/bench/machine"
)

// A Comparison is what bench/peers writes with -json, as far as it is printed here.
type Comparison struct {
	Command    string          `json:"command"`
	Commit     string          `json:"commit"`
	Date       time.Time       `json:"date"`
	Machine    machine.Machine `json:"machine"`
	Contenders []string        `json:"contenders"`
	Table      []struct {
		Measure string            `json:"measure"`
		Figures map[string]Median `json:"figures"` // by contender
	} `json:"table"`
	Notes []string `json:"notes"`
}

// A Median is a figure of a contender over some rounds; null for not measured.
type Median struct {
	Median *float64 `json:"median"`
	Ratio  *float64 `json:"ratio_to_floor"` // the median of the ratios in each round
}

// ReadComparison reads what bench/peers wrote.
func ReadComparison(name string) (*Comparison, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	c := new(Comparison)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s: not a comparison of bench/peers: %w", name, err)
	}
	if len(c.Table) == 0 {
		return nil, fmt.Errorf("%s: not a comparison of bench/peers: no table", name)
	}
	return c, nil
}

// Markdown is the comparison as a table, with a column for each contender.
func (c *Comparison) Markdown() string {
	contenders := c.Contenders
	if len(contenders) == 0 {
		contenders = slices.Sorted(maps.Keys(c.Table[0].Figures))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s at commit %s, on %v, by `%s`. Medians, and in bold how many times the floor's of the same round.\n\n",
		c.Date.Format("2006-01-02"), c.Commit, c.Machine, c.Command)
	fmt.Fprintf(&b, "| what | %s |\n|---|%s\n", strings.Join(contenders, " | "), strings.Repeat("---|", len(contenders)))
	for _, row := range c.Table {
		fmt.Fprintf(&b, "| %s |", cell(row.Measure))
		for _, name := range contenders {
			fmt.Fprintf(&b, " %s |", row.Figures[name])
		}
		b.WriteString("\n")
	}
	if len(c.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, note := range c.Notes {
		fmt.Fprintf(&b, "- %s\n", note)
	}
	return b.String()
}

// String is a cell of the table.
func (m Median) String() string {
	if m.Median == nil {
		return "–"
	}
	v := *m.Median
	text := Count(v)
	switch {
	case v < 10:
		text = fmt.Sprintf("%.2f", v)
	case v < 100:
		text = fmt.Sprintf("%.1f", v)
	}
	if m.Ratio != nil {
		text += fmt.Sprintf(" **×%.2f**", *m.Ratio)
	}
	return text
}
