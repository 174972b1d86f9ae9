// Command boltapp is the application side of the system tests: a writer that knows nothing of pageferry and keeps
// invariants inside its data, a checker that judges files by bbolt's own check and by those invariants, and the
// accidents that happen to real files (a lost transaction committed again, a compaction renamed over the path).
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: boltapp writer|checker|lie|compact [flags]"))
	}
	commands := map[string]func([]string) error{
		"writer":  runWriter,
		"checker": runChecker,
		"lie":     runLie,
		"compact": runCompact,
	}
	run, ok := commands[os.Args[1]]
	if !ok {
		fail(fmt.Errorf("no such command: %s", os.Args[1]))
	}
	if err := run(os.Args[2:]); err != nil {
		fail(err)
	}
}

// say prints one JSON line, unbuffered, so that a reader sees it at once and a kill cuts no line.
func say(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		fail(err)
	}
	os.Stdout.Write(append(line, '\n'))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "boltapp:", err)
	os.Exit(1)
}
