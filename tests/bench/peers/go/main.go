// Command peer measures Go's own runtime as grasp-bench measures ours: one part for each argument, one
// JSON line for each metric. What a metric means stands in ../README.md; BENCH_DIVISOR in the environment
// divides the numbers of samples.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
)

// httpServer prints its port and answers; spinners goroutines without calls run beside it.
func httpServer(spinners int) {
	for i := 0; i < spinners; i++ {
		go func() {
			x := uint64(1)
			for {
				x = x*6364136223846793005 + 1
			}
		}()
	}
	body := []byte(`{"ok":true}`)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	http.Serve(l, nil)
}

// scaled tells how many samples to take where a full run takes full; never fewer than least.
func scaled(full, least int) int {
	d, _ := strconv.Atoi(os.Getenv("BENCH_DIVISOR"))
	if d > 1 {
		full /= d
	}
	if full < least {
		return least
	}
	return full
}

func main() {
	for i := 1; i < len(os.Args); i++ {
		switch os.Args[i] {
		case "suspend":
			suspendBench("")
		case "suspend-sync":
			suspendBench("sync")
		case "switch":
			switchBench()
		case "sleep":
			sleepers()
		case "memory":
			idleMem(100000, "100k")
		case "memory-million":
			idleMem(1000000, "1M")
		case "fairness":
			fairness(1)
			fairness(4)
		case "inspect":
			inspectBench()
			stwBench()
		case "inspect-server": // inspectBench starts it with a number
			n, _ := strconv.Atoi(os.Args[i+1])
			inspectServer(n)
		case "http": // http.sh starts it with a number of spinners
			n, _ := strconv.Atoi(os.Args[i+1])
			httpServer(n)
		default:
			fmt.Fprintln(os.Stderr, "parts: suspend suspend-sync switch sleep memory memory-million fairness inspect http")
			os.Exit(2)
		}
	}
}
