package httpapi

import "strings"

// maxCompared is how much of a wrong name is compared, and shown: all known ones are
// much shorter.
const maxCompared = 64

// shown is a wrong name as an answer repeats it: UTF-8, and not long.
func shown(name string) string {
	if len(name) <= maxCompared {
		return strings.ToValidUTF8(name, "?")
	}
	return strings.ToValidUTF8(name[:maxCompared], "") + "…"
}

// nearest returns the known name that a wrong one most likely stands for: the one at the
// least edit distance, which counts for a quarter if one of them contains the other.
func nearest(wrong string, known []string) (best string) {
	wrong = plain(wrong[:min(len(wrong), maxCompared)])
	least := 0
	for _, name := range known {
		d, p := 4*distance(wrong, plain(name)), plain(name)
		if strings.Contains(p, wrong) || strings.Contains(wrong, p) {
			d /= 4
		}
		if best == "" || d < least {
			best, least = name, d
		}
	}
	return best
}

// plain is a name without what languages write differently: clientId, client-id.
func plain(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "-", "_")
}

// distance is what it costs to make b of a: 1 for a byte that is left out of a, which is
// what people do to long names, and 2 for one that is too much or another.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of the table whose last cell is the answer
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = 2 * (i + 1)
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change += 2
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+2)
		}
	}
	return row[len(b)]
}
