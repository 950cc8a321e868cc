package report

func WriteHTML(name string, results []*Result) error { return nil }
