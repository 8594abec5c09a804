package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// victim timestamps itself without pause; the longest step since the last
// read is what a dump cost a goroutine that was doing its own work.
var victimGap, victimLast int64

func victim() {
	last := nanotime()
	for {
		now := nanotime()
		if d := now - last; d > atomic.LoadInt64(&victimGap) {
			atomic.StoreInt64(&victimGap, d)
		}
		last = now
		atomic.StoreInt64(&victimLast, now)
	}
}

// takeGap returns the longest gap since the last call. It first lets the
// victim take a step, so that a gap still open now is counted now.
func takeGap() int64 {
	for i := 0; i < 2; i++ {
		l := atomic.LoadInt64(&victimLast)
		for atomic.LoadInt64(&victimLast) == l {
			runtime.Gosched()
		}
	}
	return atomic.SwapInt64(&victimGap, 0)
}

func parkDeep(ch chan int, depth int) int {
	if depth > 0 {
		return parkDeep(ch, depth-1) + 1
	}
	return <-ch
}

// inspectServer: N parked goroutines (8 frames deep), one spinning victim,
// GOMAXPROCS=2, net/http/pprof on loopback.
func inspectServer(n int) {
	runtime.GOMAXPROCS(2)
	ch := make(chan int)
	for i := 0; i < n; i++ {
		go parkDeep(ch, 8)
	}
	time.Sleep(100 * time.Millisecond)
	runtime.GC()
	go victim()
	http.HandleFunc("/gap", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, takeGap())
	})
	// control: as many bytes as the dump had, without a dump
	http.HandleFunc("/blob", func(w http.ResponseWriter, r *http.Request) {
		k, _ := strconv.Atoi(r.URL.Query().Get("n"))
		b := make([]byte, 65536)
		for k > 0 {
			c := len(b)
			if k < c {
				c = k
			}
			w.Write(b[:c])
			k -= c
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().String())
	http.Serve(l, nil)
}

func get(url string) (int64, float64) {
	t := nanotime()
	r, err := http.Get(url)
	if err != nil {
		panic(err)
	}
	n, _ := io.Copy(io.Discard, r.Body)
	r.Body.Close()
	return n, float64(nanotime()-t) / 1000
}

func getGap(a string) float64 {
	r, err := http.Get("http://" + a + "/gap")
	if err != nil {
		panic(err)
	}
	b, _ := io.ReadAll(r.Body)
	r.Body.Close()
	x, _ := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	return x / 1000
}

// inspectBench is the client: a separate process from the server.
func inspectBench() {
	for _, n := range []int{1000, 10000, 100000} {
		c := exec.Command(os.Args[0], "inspect-server", strconv.Itoa(n))
		c.Stderr = os.Stderr
		out, _ := c.StdoutPipe()
		if err := c.Start(); err != nil {
			panic(err)
		}
		s, _ := bufio.NewReader(out).ReadString('\n')
		a := strings.TrimSpace(s)
		time.Sleep(200 * time.Millisecond)
		reps := scaled(30, 2)
		if n >= 100000 {
			reps = scaled(5, 1)
		}
		for _, dbg := range []int{2, 1} {
			url := fmt.Sprintf("http://%s/debug/pprof/goroutine?debug=%d", a, dbg)
			var tm, by, gap, cgap []float64
			for i := 0; i < reps; i++ {
				time.Sleep(20 * time.Millisecond)
				getGap(a)
				b, t := get(url)
				gap = append(gap, getGap(a))
				tm = append(tm, t)
				by = append(by, float64(b))
				time.Sleep(20 * time.Millisecond)
				getGap(a)
				get(fmt.Sprintf("http://%s/blob?n=%d", a, b))
				cgap = append(cgap, getGap(a))
			}
			p := fmt.Sprintf("pprof_debug%d_%dk_", dbg, n/1000)
			emit(p+"time", "us", tm)
			emit(p+"bytes", "B", by)
			emit(p+"victim_gap", "us", gap)
			emit(p+"victim_gap_control", "us", cgap)
		}
		c.Process.Kill()
		c.Wait()
	}
}

// stwBench: one stop of the world as the victim sees it, without HTTP:
// runtime.Stack(all) into a tiny buffer.
func stwBench() {
	runtime.GOMAXPROCS(2)
	ch := make(chan int)
	var wg sync.WaitGroup
	for i := 0; i < 1000; i++ {
		wg.Add(1)
		go func() { wg.Done(); parkDeep(ch, 8) }()
	}
	wg.Wait()
	go victim()
	time.Sleep(50 * time.Millisecond)
	buf := make([]byte, 256)
	var v, g []float64
	for i := 0; i < scaled(500, 5); i++ {
		time.Sleep(200 * time.Microsecond)
		takeGap()
		t := nanotime()
		runtime.Stack(buf, true)
		v = append(v, float64(nanotime()-t)/1000)
		g = append(g, float64(takeGap())/1000)
	}
	emit("stack_all_1k_tinybuf_call", "us", v)
	emit("stack_all_1k_tinybuf_victim_gap", "us", g)
}
