%% Measures Erlang/OTP as grasp-bench measures our runtime; what a metric means stands in ../README.md.
%% PEER_PARTS in the environment names the parts, BENCH_DIVISOR divides the numbers of samples.
-module(bench).
-export([main/0, spin_tight/1, spin_plain/1, ponger/0, deep/1]).

now_ns() -> erlang:monotonic_time(nanosecond).

emit(_, _, []) -> ok;
emit(Metric, Unit, L) ->
    T = list_to_tuple(lists:sort(L)),
    N = tuple_size(T),
    Q = fun(P) -> element(max(1, min(N, ceil(P * N - 1.0e-6))), T) end,
    F = fun(X) -> io_lib:format("~.3f", [float(X)]) end,
    io:format("{\"peer\":\"erlang-otp~s\",\"metric\":\"~s\",\"unit\":\"~s\",\"n\":~p,"
              "\"p50\":~s,\"p99\":~s,\"p999\":~s,\"max\":~s,\"min\":~s}~n",
              [erlang:system_info(otp_release), Metric, Unit, N,
               F(Q(0.5)), F(Q(0.99)), F(Q(0.999)), F(element(N, T)), F(element(1, T))]).

rss() ->
    {ok, B} = file:read_file("/proc/self/statm"),
    [_, R | _] = string:lexemes(B, " "),
    binary_to_integer(R) * 4096.

thr() -> integer_to_list(erlang:system_info(schedulers_online)) ++ "thr".

scaled(Full, Least) ->
    max(Least, Full div max(1, list_to_integer(os:getenv("BENCH_DIVISOR", "1")))).

main() ->
    [part(P) || P <- string:lexemes(os:getenv("PEER_PARTS", ""), " ")],
    halt(0).

part("suspend") -> suspend();
part("switch") -> spawn_exit(), yield("yield_", 2 * erlang:system_info(schedulers_online), 10000), pingpong(),
    yield("yield_crowd_", 10000, 20);
part("sleep") -> sleepers();
part("memory") -> idle_mem();
part("fairness") -> fair(1), fair(4);
part("inspect") -> inspect().

%% ---- Suspend

spin_tight(A) -> atomics:add(A, 1, 1), spin_tight(A).
spin_plain(N) -> spin_plain((N * 5 + 1) band 16#ffffff).

wait_progress(A) -> wait_progress(A, atomics:get(A, 1)).
wait_progress(A, V) ->
    case atomics:get(A, 1) >= V + 20 of true -> ok; false -> wait_progress(A, V) end.

suspend() ->
    A = atomics:new(1, []),
    P1 = spawn(?MODULE, spin_tight, [A]),
    suspend("spin", P1, fun() -> wait_progress(A) end, scaled(20000, 20)),
    exit(P1, kill),
    P2 = spawn(fun() -> receive stop -> ok end end),
    timer:sleep(10),
    suspend("waiting", P2, fun() -> ok end, scaled(20000, 20)),
    P2 ! stop,
    %% the inspection of one spinning process, same shape
    P3 = spawn(?MODULE, spin_tight, [A]),
    L = timed(scaled(20000, 20), now_ns() + 10000000000,
              fun() -> wait_progress(A) end,
              fun() -> T = now_ns(), {_, _} = process_info(P3, current_stacktrace), now_ns() - T end),
    exit(P3, kill),
    emit("stacktrace_of_spinning", "ns", L).

timed(0, _, _, _) -> [];
timed(N, End, Pre, F) ->
    case now_ns() > End of
        true -> [];
        false -> Pre(), X = F(), [X | timed(N - 1, End, Pre, F)]
    end.

suspend(Name, P, Pre, N) ->
    L = timed(N, now_ns() + 15000000000, Pre,
              fun() ->
                      T0 = now_ns(),
                      true = erlang:suspend_process(P),
                      T1 = now_ns(),
                      true = erlang:resume_process(P),
                      {T1 - T0, now_ns() - T0}
              end),
    emit("suspend_" ++ Name, "ns", [X || {X, _} <- L]),
    emit("suspend_resume_" ++ Name, "ns", [Y || {_, Y} <- L]).

%% ---- Scheduler

spawn_exit() ->
    L = [begin
             T = now_ns(),
             Me = self(),
             [spawn(fun() -> Me ! done end) || _ <- lists:seq(1, 10000)],
             [receive done -> ok end || _ <- lists:seq(1, 10000)],
             (now_ns() - T) / 10000
         end || _ <- lists:seq(1, scaled(100, 3))],
    emit("spawn_exit_" ++ thr(), "ns/task", L).

yields(0) -> ok;
yields(N) -> erlang:yield(), yields(N - 1).

yield(Name, K, Yields) ->
    L = [begin
             Me = self(),
             Ps = [spawn(fun() -> receive go -> ok end, yields(Yields), Me ! done end)
                   || _ <- lists:seq(1, K)],
             T = now_ns(),
             [P ! go || P <- Ps],
             [receive done -> ok end || _ <- Ps],
             (now_ns() - T) / (Yields * K)
         end || _ <- lists:seq(1, scaled(50, 3))],
    emit(Name ++ thr(), "ns/switch", L).

ponger() -> receive {P, X} -> P ! X, ponger(); stop -> ok end.
ping(_, 0) -> ok;
ping(P, N) -> P ! {self(), N}, receive N -> ping(P, N - 1) end.
pingpong() ->
    P = spawn(?MODULE, ponger, []),
    L = [begin T = now_ns(), ping(P, 100), (now_ns() - T) / 100 end || _ <- lists:seq(1, scaled(1000, 20))],
    P ! stop,
    emit("pingpong_rtt_" ++ thr(), "ns/rtt", L).

idle_mem() ->
    erlang:garbage_collect(),
    R0 = rss(),
    M0 = erlang:memory(processes),
    N = 100000,
    Ps = [spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, N)],
    timer:sleep(200),
    M1 = erlang:memory(processes),
    R1 = rss(),
    emit("idle_mem_100k", "B/task", [(R1 - R0) / N]),
    emit("idle_mem_100k_accounted", "B/task", [(M1 - M0) / N]),
    [P ! stop || P <- Ps].

sleepers() ->
    Me = self(),
    N = 10000,
    Base = erlang:monotonic_time(millisecond) + 200,
    [spawn(fun() ->
                   Dl = Base + rand:uniform(1000),
                   Ref = erlang:start_timer(Dl, self(), x, [{abs, true}]),
                   receive {timeout, Ref, x} -> ok end,
                   Me ! {late, (now_ns() - Dl * 1000000) / 1000}
           end) || _ <- lists:seq(1, N)],
    emit("sleep_late_10k", "us", [receive {late, X} -> X end || _ <- lists:seq(1, N)]).

%% ---- Fairness

fair(Per) ->
    S = [spawn(?MODULE, spin_plain, [1]) || _ <- lists:seq(1, 2 * Per)],
    timer:sleep(30),
    A = atomics:new(1, []),
    L = [begin
             atomics:put(A, 1, 0),
             T = now_ns(),
             spawn(fun() -> atomics:put(A, 1, now_ns() - T) end),
             fair_wait(A) / 1000
         end || _ <- lists:seq(1, scaled(200, 10))],
    K = integer_to_list(Per),
    emit("fair_spawn_" ++ K ++ "spin_per_core", "us", L),
    W = [begin T = now_ns(), receive after 5 -> ok end, (now_ns() - T - 5000000) / 1000 end
         || _ <- lists:seq(1, scaled(200, 10))],
    emit("fair_wake_" ++ K ++ "spin_per_core", "us", W),
    [exit(P, kill) || P <- S].

fair_wait(A) -> case atomics:get(A, 1) of 0 -> fair_wait(A); X -> X end.

%% ---- Inspection

deep(0) -> receive stop -> ok end, 0;
deep(N) -> 1 + deep(N - 1).

%% victim: timestamps itself; 1 = longest gap, 2 = last stamp
victim(A, Last) ->
    Now = now_ns(),
    D = Now - Last,
    case atomics:get(A, 1) of
        G when D > G -> atomics:put(A, 1, D);
        _ -> ok
    end,
    atomics:put(A, 2, Now),
    victim(A, Now).

take_gap(A) ->
    step(A, atomics:get(A, 2)), step(A, atomics:get(A, 2)),
    atomics:exchange(A, 1, 0).
step(A, L) -> case atomics:get(A, 2) of L -> erlang:yield(), step(A, L); _ -> ok end.

inspect() ->
    [inspect(N) || N <- [1000, 10000, 100000]].
inspect(N) ->
    A = atomics:new(2, []),
    V = spawn(fun() -> victim(A, now_ns()) end),
    Ps = [spawn(?MODULE, deep, [8]) || _ <- lists:seq(1, N)],
    timer:sleep(100),
    Reps = case N of 100000 -> scaled(7, 1); _ -> scaled(30, 2) end,
    L = [begin
             timer:sleep(20),
             take_gap(A),
             T = now_ns(),
             Info = [process_info(P, current_stacktrace) || P <- [V | Ps]],
             T1 = now_ns(),
             G = take_gap(A),
             %% the same as text, as a person would be sent it
             T2 = now_ns(),
             B = iolist_size(io_lib:format("~p", [Info])),
             T3 = now_ns(),
             timer:sleep(20),
             take_gap(A),
             burn(now_ns() + (T1 - T)), % control: as long, without inspecting
             {(T1 - T) / 1000, G / 1000, B, (T3 - T2) / 1000, take_gap(A) / 1000}
         end || _ <- lists:seq(1, Reps)],
    M = "process_info_all_" ++ integer_to_list(N div 1000) ++ "k_",
    emit(M ++ "time", "us", [element(1, X) || X <- L]),
    emit(M ++ "victim_gap", "us", [element(2, X) || X <- L]),
    emit(M ++ "bytes", "B", [element(3, X) || X <- L]),
    emit(M ++ "format_time", "us", [element(4, X) || X <- L]),
    emit(M ++ "victim_gap_control", "us", [element(5, X) || X <- L]),
    exit(V, kill),
    [exit(P, kill) || P <- Ps],
    timer:sleep(200).

burn(End) -> case now_ns() >= End of true -> ok; false -> burn(End) end.
