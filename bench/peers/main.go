package main

import (
	"flag"
	"log"
)

func main() {
	n := flag.String("serve", "", "")
	a := flag.String("addr", "127.0.0.1:0", "")
	o := flag.String("on-message", "", "")
	flag.Parse()
	if err := serve(*n, *a, *o == "echo"); err != nil {
		log.Fatal(err)
	}
}
