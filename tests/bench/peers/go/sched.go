package main

import (
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

func rss() float64 {
	b, _ := os.ReadFile("/proc/self/statm")
	var a, r int64
	fmt.Sscan(string(b), &a, &r)
	return float64(r * int64(os.Getpagesize()))
}

func spawnExit(procs int) {
	runtime.GOMAXPROCS(procs)
	const per = 10000
	batches := scaled(100, 10) // 1e6 tasks in a full run
	var v []float64
	for b := 0; b < batches; b++ {
		var wg sync.WaitGroup
		wg.Add(per)
		t := nanotime()
		for i := 0; i < per; i++ {
			go func() { wg.Done() }()
		}
		wg.Wait()
		v = append(v, float64(nanotime()-t)/per)
	}
	emit(fmt.Sprintf("spawn_exit_%dthr", procs), "ns/task", v)
}

func yield(name string, procs, gs, per int) {
	runtime.GOMAXPROCS(procs)
	batches := scaled(100, 10)
	var v []float64
	for b := 0; b < batches; b++ {
		var wg sync.WaitGroup
		wg.Add(gs)
		t := nanotime()
		for k := 0; k < gs; k++ {
			go func() {
				for i := 0; i < per; i++ {
					runtime.Gosched()
				}
				wg.Done()
			}()
		}
		wg.Wait()
		v = append(v, float64(nanotime()-t)/float64(per*gs))
	}
	emit(fmt.Sprintf("%s_%dthr", name, procs), "ns/switch", v)
}

func pingpong(procs int) {
	runtime.GOMAXPROCS(procs)
	a, b := make(chan int), make(chan int)
	go func() {
		for x := range a {
			b <- x
		}
	}()
	var v []float64
	for k := scaled(2000, 20); k > 0; k-- {
		t := nanotime()
		for i := 0; i < 100; i++ {
			a <- i
			<-b
		}
		v = append(v, float64(nanotime()-t)/100)
	}
	close(a)
	emit(fmt.Sprintf("pingpong_rtt_%dthr", procs), "ns/rtt", v)
}

func idleMem(n int, name string) {
	runtime.GOMAXPROCS(2)
	debug.FreeOSMemory()
	ch := make(chan int)
	var up sync.WaitGroup
	up.Add(n)
	r0 := rss()
	for i := 0; i < n; i++ {
		go func() { up.Done(); <-ch }()
	}
	up.Wait()
	time.Sleep(50 * time.Millisecond)
	emit("idle_mem_"+name, "B/task", []float64{(rss() - r0) / float64(n)})
	close(ch)
	time.Sleep(200 * time.Millisecond)
}

func sleepers() {
	runtime.GOMAXPROCS(2)
	const n = 10000
	late := make([]float64, n)
	var wg sync.WaitGroup
	wg.Add(n)
	r := rand.New(rand.NewSource(1))
	base := nanotime() + 100e6
	for i := 0; i < n; i++ {
		i, dl := i, base+int64(r.Intn(1000000))*1000
		go func() {
			time.Sleep(time.Duration(dl - nanotime()))
			late[i] = float64(nanotime()-dl) / 1000
			wg.Done()
		}()
	}
	wg.Wait()
	emit("sleep_late_10k", "us", late)
}

func switchBench() {
	spawnExit(1)
	spawnExit(2)
	yield("yield", 1, 2, 10000)
	yield("yield", 2, 4, 10000)
	pingpong(1)
	pingpong(2)
	yield("yield_crowd", 1, 10000, 20)
	yield("yield_crowd", 2, 10000, 20)
}

// fairness: perP spinners (no calls) on each of 2 Ps.
func fairness(perP int) {
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(-1)
	var stop uint32
	var wg sync.WaitGroup
	for i := 0; i < 2*perP; i++ {
		wg.Add(1)
		go func() {
			x := uint64(1)
			for atomic.LoadUint32(&stop) == 0 {
				x = x*6364136223846793005 + 1
			}
			sinkV = x
			wg.Done()
		}()
	}
	time.Sleep(30 * time.Millisecond)
	// (a) the parent spawns a short goroutine and goes on spinning
	var v []float64
	for i := scaled(200, 10); i > 0; i-- {
		var end int64
		t := nanotime()
		go func() { atomic.StoreInt64(&end, nanotime()) }()
		for atomic.LoadInt64(&end) == 0 {
		}
		v = append(v, float64(end-t)/1000)
	}
	emit(fmt.Sprintf("fair_spawn_%dspin_per_core", perP), "us", v)
	// (b) a sleeping goroutine is due 5 ms later, while the spinners hold both Ps
	v = nil
	for i := scaled(200, 10); i > 0; i-- {
		t := nanotime()
		time.Sleep(5 * time.Millisecond)
		v = append(v, float64(nanotime()-t-5e6)/1000)
	}
	emit(fmt.Sprintf("fair_wake_%dspin_per_core", perP), "us", v)
	atomic.StoreUint32(&stop, 1)
	wg.Wait()
}
