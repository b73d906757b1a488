/* The trigger protocol: one run, two dispatchers, one reconciler, and a Jenkins with all that may happen around it.
 *
 * Checked exhaustively by `make model` (docs/models/README.md):
 *   P3  at most one request of a run becomes a build, except when a request outlived its quarantine; such a build
 *       is stopped or shown; a run without a build has ended with a cause; a certain end is one.
 *   P9  only a build that a request of ours made is stopped as a duplicate; only what is the run's is cancelled.
 *   BUILD_LOST is concluded only of a build that Jenkins no longer has.
 *
 * A rule of the code is removed by defining its WITHOUT_ name; the checker must then find a trace.
 *
 * Time is abstract. A lease may run out at any moment, as a process may stall: the other dispatcher can always claim.
 * `send_by`, the quarantine and the pause between two probes end when `Environment` says so. */

#define ATTEMPTS 2 /* requests that a run may announce; then its deadline has passed */
#define ITEMS 3    /* places in Jenkins' queue */
#define BUILDS 5   /* build numbers are 1..BUILDS */

/* deployment_runs.trigger_state */
mtype:trigger = { WAITING, SENDING, ACCEPTED, ENDED };
/* An attempt's request. ABANDONED: on its way, but its dispatcher has died or no longer waits for the answer.
 * OVER: given up, lost, or arrived with nobody to read the answer. */
mtype:request = { UNUSED, ANNOUNCED, IN_FLIGHT, ABANDONED, ANSWERED, OVER };
/* A queue item. LEAVING: out of the queue, its build isn't there yet (some milliseconds). */
mtype:item = { FREE, QUEUED, LEAVING };
/* A build. GONE: its number is used up and Jenkins answers 404. */
mtype:build = { ABSENT, RUNNING, DONE, GONE };
/* Why a run has ended. */
mtype:cause = { NO_CAUSE, CANCELLED, TRIGGER_DEADLINE, TRIGGER_OUTCOME_UNKNOWN, BUILD_LOST, BUILD_ENDED };

/* What made an item or a build. 1..ATTEMPTS: a request of that attempt. */
#define RETRY 11    /* a retry plugin: same parameters, same causes, after the build has ended */
#define RESTORED 12 /* Jenkins loaded a queue.xml from before the item had left: same parameters, same causes */
#define PERSON 13   /* Rebuild or Replay: same parameters, a cause of its own */
#define OTHER 14    /* another run's item, without our run's id */
#define of_attempt(o) ((o) >= 1 && (o) <= ATTEMPTS)
#define has_run_id(o) ((o) != 0 && (o) != OTHER)
#define our_cause(o) (has_run_id(o) && (o) != PERSON)

/* ---- The store ---- */
mtype:trigger trigger_state = WAITING;
byte holder;             /* whose claim is the latest; the fence: 0, or a dispatcher */
byte announced;          /* attempts with a request announced */
byte unanswered;         /* of these, not known to be answered or not sent: sent attempts that Jenkins never answered */
byte matched;            /* of these, found to be a queue item or a build */
byte stops;              /* duplicates stopped; each is justified by one unanswered, unmatched attempt */
byte first_build = 255;  /* first_build_number */
byte probe_count;
bool cancel_requested;
byte run_build;          /* the number of the run's own build */
byte run_queue_id;
bool missing_once;       /* a probe of the reconciler found neither item nor build */
mtype:cause cause = NO_CAUSE;
bool certain;            /* ended by proof that nothing of the run is in Jenkins */
bool judged[BUILDS + 1]; /* event POSSIBLE_DUPLICATE, or stopped */

/* ---- The network and the clock ---- */
mtype:request request[ATTEMPTS + 1];
byte answer_id[ATTEMPTS + 1]; /* the queue id in the answer */
bool send_by_passed[ATTEMPTS + 1];
bool quarantine_over, pause_over, outlived;
byte stale_replica;         /* 1: one replica of the controller answers 404 for a moment; 2: that is used up */

/* ---- Jenkins ---- */
mtype:item item[ITEMS];
byte item_origin[ITEMS];
byte item_id[ITEMS];
byte next_queue_id = 1;
mtype:build build[BUILDS + 1];
byte origin[BUILDS + 1];
byte queue_id_of[BUILDS + 1];
bool within[BUILDS + 1]; /* it started while the lowest build with the run's id was running */
bool was_built;          /* an item of ours has become a build: a stale queue.xml may hold it */
byte next_number = 1;
bool killed, copied, other_came;

/* ---- Ghosts: the truth, for the properties ---- */
byte made;               /* requests of the run that became a build */

#define visible(n) (build[n] == RUNNING || build[n] == DONE)
#define mine(n) (visible(n) && has_run_id(origin[n]))
#define lowest_mine (mine(1) -> 1 : (mine(2) -> 2 : (mine(3) -> 3 : (mine(4) -> 4 : (mine(5) -> 5 : 0)))))
#define queued_mine(i) (item[i] == QUEUED && has_run_id(item_origin[i]))
#define find_queued (queued_mine(0) -> 0 : (queued_mine(1) -> 1 : (queued_mine(2) -> 2 : ITEMS)))
#define free_place (item[0] == FREE -> 0 : (item[1] == FREE -> 1 : (item[2] == FREE -> 2 : ITEMS)))
#define ours_leaving(i) (item[i] == LEAVING && of_attempt(item_origin[i]))
#define leaving_place (item[0] == LEAVING -> 0 : (item[1] == LEAVING -> 1 : 2))
#define leaving (item[0] == LEAVING || item[1] == LEAVING || item[2] == LEAVING)
#define hole(n) ((n) >= first_build && (n) < next_number && !visible(n))
#define holes (hole(1) || hole(2) || hole(3) || hole(4) || hole(5))
#define unjudged(n) (run_build != 0 && (n) > run_build && mine(n) && !judged[n])
#define find_duplicate (unjudged(2) -> 2 : (unjudged(3) -> 3 : (unjudged(4) -> 4 : (unjudged(5) -> 5 : 0))))
#define before_send_by(k) (request[k] == ANNOUNCED && !send_by_passed[k])
#define on_its_way(k) (request[k] == IN_FLIGHT || request[k] == ABANDONED)

/* The queue item of the run: the one that carries its id. */
#ifdef WITHOUT_ITEM_CHECK
#define has_id(i) (item[i] == QUEUED && run_queue_id != 0 && item_id[i] == run_queue_id)
#define find_item (has_id(0) -> 0 : (has_id(1) -> 1 : (has_id(2) -> 2 : ITEMS)))
#else
#define find_item find_queued
#endif

#ifdef WITHOUT_FENCE
#define fenced(d) (trigger_state == WAITING || trigger_state == SENDING)
#else
#define fenced(d) (holder == (d) && (trigger_state == WAITING || trigger_state == SENDING))
#endif

/* P9, stopping duplicates: (a) a sent attempt that Jenkins never answered and that matches no queue item or build, each
 * justifies one stop; (b) the build's only cause is our account; (c) it started before the run's own build ended. */
#ifdef WITHOUT_A
#define condition_a true
#elif defined(WITHOUT_ONE_STOP_EACH)
#define condition_a (unanswered > matched)
#else
#define condition_a (unanswered > matched + stops)
#endif
#ifdef WITHOUT_B
#define condition_b(n) true
#else
#define condition_b(n) our_cause(origin[n])
#endif
#ifdef WITHOUT_C
#define condition_c(n) true
#else
#define condition_c(n) (build[run_build] == RUNNING || (build[run_build] == DONE && within[n]))
#endif

/* Jenkins starts a build for an item, a retry plugin or a person. */
inline start_build(who, qid) {
    within[next_number] = (lowest_mine != 0 && build[lowest_mine] == RUNNING);
    origin[next_number] = who;
    queue_id_of[next_number] = qid;
    build[next_number] = RUNNING;
    next_number++
}

inline pass_send_by(k) { send_by_passed[k] = true; printf("clock: send_by of attempt %d passes\n", k) }

/* A request arrives. The same parameters in the queue: it is folded into that item (303). */
#define can_arrive (find_queued < ITEMS || free_place < ITEMS)
inline arrive(k) {
    if
    :: find_queued < ITEMS ->
        answer_id[k] = item_id[find_queued];
        printf("Jenkins: the request of attempt %d arrives and is folded into item %d\n", k, answer_id[k])
    :: else ->
        answer_id[k] = next_queue_id;
        printf("Jenkins: the request of attempt %d arrives: queue item %d\n", k, answer_id[k]);
        enqueue(k)
    fi;
    if
    :: request[k] == IN_FLIGHT -> request[k] = ANSWERED
    :: else -> request[k] = OVER; answer_id[k] = 0
    fi
}

inline enqueue(who) {
    i = free_place;
    item_origin[i] = who; item_id[i] = next_queue_id; item[i] = QUEUED; next_queue_id++;
    i = 0
}

/* End the run without a build: workers/dispatcher/steps.py, no_build. */
inline no_build(why, is_certain) {
    trigger_state = ENDED; cause = why; certain = is_certain; holder = 0
}

proctype Dispatcher(byte d) {
    byte k, number, place;
idle:
    number = 0; k = 0; place = ITEMS;
    atomic {
        (trigger_state == WAITING) ||
#ifdef WITHOUT_QUARANTINE
        (trigger_state == SENDING && pause_over);
#else
        (trigger_state == SENDING && quarantine_over && pause_over);
#endif
        holder = d;
        if
        :: trigger_state == SENDING -> printf("dispatcher %d claims the run: SENDING, to probe\n", d); goto probe
        :: trigger_state == WAITING -> number = next_number;
            printf("dispatcher %d claims the run: WAITING; reads the job: next build number %d\n", d, number)
        fi
    }
    atomic {
        /* begin_send: commit that a request will be sent. */
        if
        :: !fenced(d) || trigger_state != WAITING -> printf("dispatcher %d has lost its lease\n", d); goto idle
        :: else
        fi;
        if
        :: cancel_requested -> no_build(CANCELLED, true); printf("the run ends: CANCELLED before it was sent\n"); goto idle
        :: !cancel_requested && announced == ATTEMPTS ->
            no_build(TRIGGER_DEADLINE, true); printf("the run ends: TRIGGER_DEADLINE\n"); goto idle
        :: else
        fi;
        announced++; unanswered++; k = announced;
        request[k] = ANNOUNCED;
#ifndef WITHOUT_INTENT
        trigger_state = SENDING;
        quarantine_over = false; pause_over = true; probe_count = 0;
#endif
        first_build = (number < first_build -> number : first_build); number = 0;
        printf("dispatcher %d announces attempt %d\n", d, k)
    }
    atomic {
        if
        :: request[k] = OVER; printf("dispatcher %d dies before it posts, and is started again\n", d); goto idle
#ifndef WITHOUT_SEND_BY
        :: send_by_passed[k] ->
            /* Give back: nothing was sent. */
            request[k] = OVER;
            printf("dispatcher %d gives attempt %d up: send_by has passed\n", d, k);
            if
            :: fenced(d) -> trigger_state = WAITING; unanswered--; holder = 0; printf("the run is WAITING again\n")
            :: else -> printf("dispatcher %d has lost its lease\n", d)
            fi;
            goto idle
        :: !send_by_passed[k] -> request[k] = IN_FLIGHT
#else
        :: request[k] = IN_FLIGHT
#endif
        fi;
        printf("dispatcher %d posts attempt %d\n", d, k)
    }
    if
    :: atomic {
        request[k] == ANSWERED -> request[k] = OVER;
        if
        :: fenced(d) ->
            trigger_state = ACCEPTED; run_queue_id = answer_id[k]; unanswered--; holder = 0;
            printf("dispatcher %d: attempt %d is ACCEPTED as queue item %d\n", d, k, answer_id[k])
        :: else -> printf("dispatcher %d has lost its lease\n", d)
        fi;
        answer_id[k] = 0 }
    :: atomic {
        request[k] = (request[k] == IN_FLIGHT -> ABANDONED : OVER); answer_id[k] = 0;
        if
        :: fenced(d) ->
            trigger_state = SENDING; holder = 0; printf("dispatcher %d: the outcome of attempt %d is unclear\n", d, k)
        :: true -> printf("dispatcher %d dies and is started again\n", d)
        fi }
    fi;
    goto idle;

probe:
#ifdef WITHOUT_PROBE
    goto conclude;
#endif
    atomic {
        /* The queue first, then the builds. */
        place = find_queued;
        if
        :: place < ITEMS && fenced(d) && trigger_state == SENDING ->
            trigger_state = ACCEPTED; run_queue_id = item_id[place]; matched++; holder = 0;
            printf("probe of dispatcher %d: queue item %d carries the run's id; ACCEPTED\n", d, run_queue_id);
            goto idle
        :: place < ITEMS && !(fenced(d) && trigger_state == SENDING) -> goto idle
        :: else -> printf("probe of dispatcher %d: not in the queue\n", d)
        fi
    }
    atomic {
        number = lowest_mine;
        if
        :: !(fenced(d) && trigger_state == SENDING) -> printf("dispatcher %d has lost its lease\n", d); goto idle
        :: else
        fi;
        if
        :: number != 0 ->
            trigger_state = ACCEPTED; run_build = number; matched++; holder = 0;
            printf("probe of dispatcher %d: build %d carries the run's id; ACCEPTED\n", d, number);
            goto idle
        :: number == 0 && holes ->
#ifndef WITHOUT_HOLES
            /* A number was issued since and isn't shown: it may be the run's. */
            printf("probe of dispatcher %d: a build number was issued and isn't shown\n", d);
            no_build(TRIGGER_OUTCOME_UNKNOWN, false); printf("the run ends: TRIGGER_OUTCOME_UNKNOWN\n"); goto idle
#endif
        :: else
        fi;
        printf("probe of dispatcher %d: no build carries the run's id\n", d);
#ifndef WITHOUT_SECOND_PROBE
#ifdef WITHOUT_ALTERNATING
        /* Two probes of one session are asked for: a controller that alternates can always answer with another. */
        if
        :: probe_count == 0 -> probe_count++; pause_over = false; holder = 0; goto idle
        :: probe_count != 0 -> printf("probe of dispatcher %d: another X-Jenkins-Session than before\n", d);
            probe_count++; pause_over = false; holder = 0; assert(probe_count <= 2); goto idle
        :: probe_count != 0
        fi;
#else
        if
        :: probe_count == 0 -> probe_count = 1; pause_over = false; holder = 0; goto idle
        :: else
        fi;
#endif
#endif
        number = 0
    }
conclude:
    atomic {
        if
        :: !(fenced(d) && trigger_state == SENDING) -> printf("dispatcher %d has lost its lease\n", d)
        :: else ->
            if
            :: cancel_requested -> no_build(CANCELLED, true); printf("the run ends: CANCELLED, nothing is in Jenkins\n")
            :: !cancel_requested && announced == ATTEMPTS ->
                no_build(TRIGGER_DEADLINE, true); printf("the run ends: TRIGGER_DEADLINE\n")
            :: else ->
                trigger_state = WAITING; holder = 0;
                printf("dispatcher %d concludes that no build came of it: WAITING again\n", d)
            fi
        fi
    };
    goto idle
}

/* Reads every run that Jenkins has accepted; judges further builds with its id. */
proctype Reconciler() {
    byte n, place;
end_loop:
    do
    /* The run's build: the lowest number that carries its id. A report or a sweep may show it before any probe. */
    :: atomic {
        run_build == 0 && lowest_mine != 0 ->
        run_build = lowest_mine;
        if
        :: trigger_state == ACCEPTED
        :: else -> matched++
        fi;
        trigger_state = ACCEPTED; cause = NO_CAUSE; certain = false; missing_once = false;
        printf("reconciler: build %d is the run's\n", run_build) }
    /* A lower one has come to light. */
    :: atomic {
        run_build != 0 && lowest_mine != 0 && lowest_mine < run_build ->
        run_build = lowest_mine; cause = NO_CAUSE; trigger_state = ACCEPTED;
        printf("reconciler: build %d is the run's, as its number is lower\n", run_build) }
    :: atomic {
        trigger_state == ACCEPTED && cause == NO_CAUSE && run_build != 0 && build[run_build] == DONE ->
        cause = BUILD_ENDED; printf("reconciler: build %d has ended\n", run_build) }
#ifdef WITHOUT_QUEUE_ID_IS_NO_IDENTITY
    :: atomic {
        trigger_state == ACCEPTED && cause == NO_CAUSE && run_build != 0 && build[run_build] == RUNNING &&
        run_queue_id != 0 && queue_id_of[run_build] != run_queue_id ->
        printf("reconciler: build %d has another queue id; BUILD_LOST\n", run_build);
        cause = BUILD_LOST; assert(build[run_build] == GONE) }
#endif
    /* Neither in the queue nor among the builds, in two probes. */
    :: atomic {
        trigger_state == ACCEPTED && cause == NO_CAUSE && pause_over && find_queued == ITEMS &&
        ((run_build == 0 && lowest_mine == 0) || (run_build != 0 && (build[run_build] == GONE || stale_replica == 1))) ->
        if
#ifndef WITHOUT_SECOND_404
        :: !missing_once -> missing_once = true; pause_over = false;
            printf("reconciler: the run is neither queued nor built (first probe)\n")
#endif
        :: else ->
            printf("reconciler: the run is neither queued nor built; BUILD_LOST\n");
            cause = BUILD_LOST; assert(run_build == 0 || build[run_build] == GONE);
            assert(outlived || !(ours_leaving(0) || ours_leaving(1) || ours_leaving(2)))
        fi }
    /* It is there after all. */
    :: atomic {
        missing_once && (find_queued < ITEMS || (run_build != 0 && visible(run_build) && stale_replica != 1)) ->
        missing_once = false }

    /* Cancel what is the run's. */
    :: atomic {
        cancel_requested && trigger_state == ACCEPTED && cause == NO_CAUSE && run_build == 0 && find_item < ITEMS ->
        place = find_item;
        printf("reconciler: cancels queue item %d\n", item_id[place]);
        assert(has_run_id(item_origin[place])); /* P9 */
        item[place] = FREE; item_origin[place] = 0; item_id[place] = 0; place = 0;
        no_build(CANCELLED, true) /* read again, the item says that it was cancelled */ }
    :: atomic {
        cancel_requested && trigger_state == ACCEPTED && cause == NO_CAUSE && run_build != 0 &&
        build[run_build] == RUNNING ->
        printf("reconciler: stops build %d, the run's\n", run_build);
        assert(run_build == lowest_mine); /* P9 */
        build[run_build] = DONE }

    /* A second build with the run's id: P9, stopping duplicates. */
    :: atomic {
        find_duplicate != 0 ->
        n = find_duplicate; judged[n] = true;
        if
        :: build[n] == RUNNING && condition_a && condition_b(n) && condition_c(n) ->
            stops++;
            printf("reconciler: stops build %d as a duplicate of build %d\n", n, run_build);
            assert(of_attempt(origin[n])); /* P9 */
            build[n] = DONE
        :: else -> printf("reconciler: build %d is EXTERNAL, event POSSIBLE_DUPLICATE\n", n)
        fi;
        n = 0 }
    od
}

/* Jenkins, the network, the clock and everybody else. */
proctype Environment() {
    byte i;
end_loop:
    do
#ifndef NO_CANCEL
    /* ---- The caller ---- */
    :: atomic { !cancel_requested && cause == NO_CAUSE -> cancel_requested = true; printf("caller: CancelRun\n") }
#endif

    /* ---- The clock ---- */
    :: atomic { request[1] == ANNOUNCED && !send_by_passed[1] -> pass_send_by(1) }
    :: atomic { request[2] == ANNOUNCED && !send_by_passed[2] -> pass_send_by(2) }
    :: atomic {
        trigger_state == SENDING && !quarantine_over && !before_send_by(announced) && !(on_its_way(1) || on_its_way(2)) ->
        quarantine_over = true; printf("clock: the quarantine ends\n") }
#ifndef NO_LATE
    :: atomic {
        /* The exception: a request that outlives its quarantine, once. */
        trigger_state == SENDING && !quarantine_over && !before_send_by(announced) && !outlived &&
        (on_its_way(1) || on_its_way(2)) ->
        quarantine_over = true; outlived = true; printf("clock: the quarantine ends, a request has outlived it\n") }
#endif
    :: atomic {
        /* An item that was leaving the queue has become a build by then, and a stale replica has caught up. */
        !pause_over && !leaving ->
        pause_over = true; stale_replica = (stale_replica == 1 -> 2 : stale_replica);
        printf("clock: the pause between two probes ends\n") }

    /* ---- The network ---- */
    :: atomic { request[1] == ABANDONED -> request[1] = OVER; printf("network: the request of attempt 1 is lost\n") }
    :: atomic { request[2] == ABANDONED -> request[2] = OVER; printf("network: the request of attempt 2 is lost\n") }
    :: atomic { on_its_way(1) && can_arrive -> arrive(1) }
    :: atomic { on_its_way(2) && can_arrive -> arrive(2) }

    /* ---- Jenkins ---- */
    :: atomic { item[0] == QUEUED -> item[0] = LEAVING; printf("Jenkins: item %d leaves the queue\n", item_id[0]) }
    :: atomic { item[1] == QUEUED -> item[1] = LEAVING; printf("Jenkins: item %d leaves the queue\n", item_id[1]) }
    :: atomic { item[2] == QUEUED -> item[2] = LEAVING; printf("Jenkins: item %d leaves the queue\n", item_id[2]) }
    :: atomic {
        leaving ->
        i = leaving_place;
        start_build(item_origin[i], item_id[i]);
        printf("Jenkins: item %d becomes build %d\n", item_id[i], next_number - 1);
        if
        :: of_attempt(item_origin[i]) ->
            was_built = true; made++;
#ifndef TWO_BUILDS /* look for two builds only */
            assert(!certain || outlived)
#endif
        :: else
        fi;
        item[i] = FREE; item_origin[i] = 0; item_id[i] = 0; i = 0;
        assert(made <= 1 || outlived) /* P3 */ }
    :: atomic { build[1] == RUNNING && !judged[1] -> build[1] = DONE; printf("Jenkins: build 1 ends\n") }
    :: atomic { build[2] == RUNNING && !judged[2] -> build[2] = DONE; printf("Jenkins: build 2 ends\n") }
    :: atomic { build[3] == RUNNING && !judged[3] -> build[3] = DONE; printf("Jenkins: build 3 ends\n") }
    :: atomic { build[4] == RUNNING && !judged[4] -> build[4] = DONE; printf("Jenkins: build 4 ends\n") }
    :: atomic { build[5] == RUNNING && !judged[5] -> build[5] = DONE; printf("Jenkins: build 5 ends\n") }
#ifndef NO_RESTARTS
    :: atomic {
        !killed && stale_replica == 0 && run_build != 0 && visible(run_build) ->
        stale_replica = 1; printf("Jenkins: another replica answers, and answers 404 for a moment\n") }
    :: atomic {
        /* SIGKILL: items are lost or kept, queue ids may start again, freestyle builds are gone, Pipelines resume. */
        !killed && stale_replica == 0 -> killed = true; printf("Jenkins is killed and started again\n");
        i = 0;
        do
        :: i < ITEMS && item[i] == QUEUED ->
            if
            :: skip
            :: printf("Jenkins has lost item %d\n", item_id[i]); item[i] = FREE; item_origin[i] = 0; item_id[i] = 0
            fi;
            i++
        :: i < ITEMS && item[i] == LEAVING -> /* its number may be used up already, and its first step done */
            if
            :: skip
            :: true ->
                printf("Jenkins has lost item %d, number %d is used up\n", item_id[i], next_number);
                if
                :: of_attempt(item_origin[i]) -> made++
                :: else
                fi;
                origin[next_number] = item_origin[i]; build[next_number] = GONE; next_number++
            fi;
            item[i] = FREE; item_origin[i] = 0; item_id[i] = 0; i++
        :: i < ITEMS && item[i] == FREE -> i++
        :: i == ITEMS -> break
        od;
        if
        :: i = 1;
            do
            :: i <= BUILDS && build[i] == RUNNING -> build[i] = GONE; printf("Jenkins has lost build %d\n", i); i++
            :: i <= BUILDS && build[i] != RUNNING -> i++
            :: i > BUILDS -> break
            od
        :: i = 1;
            do
            :: i <= BUILDS && build[i] == RUNNING ->
                queue_id_of[i] = 99; printf("build %d, of a Pipeline, resumes with another queue id\n", i); i++
            :: i <= BUILDS && build[i] != RUNNING -> i++
            :: i > BUILDS -> break
            od
        fi;
        i = 0;
        if
        :: next_queue_id = 1; printf("Jenkins' queue ids start again\n")
        :: skip
        fi;
        /* A queue.xml from before the item had left. Together with a request of ours that is unaccounted for nobody
         * could tell the two apart: then the model leaves it out (docs/models/README.md). */
        if
        :: was_built && find_queued == ITEMS && free_place < ITEMS && unanswered <= matched + stops ->
            enqueue(RESTORED); printf("Jenkins loads an old queue: the run's item is queued again\n")
        :: skip
        fi }
#endif

    /* ---- Everybody else ---- */
#ifndef NO_COPIES
    :: atomic {
        !copied && lowest_mine != 0 && build[lowest_mine] == DONE ->
        copied = true; start_build(RETRY, next_queue_id); next_queue_id++;
        printf("retry plugin: starts build %d with the same parameters and causes\n", next_number - 1) }
    :: atomic {
        !copied && lowest_mine != 0 ->
        copied = true; start_build(PERSON, next_queue_id); next_queue_id++;
        printf("a person: Rebuild makes build %d\n", next_number - 1) }
#endif
    :: atomic {
        killed && !other_came && free_place < ITEMS ->
        other_came = true;
        printf("another run is queued as item %d\n", next_queue_id);
        enqueue(OTHER) }
    od
}

/* Where nothing can happen any more: the run has ended with a cause, and every build that carries its id is its own,
 * or stopped, or shown. */
active proctype Quiet() {
    byte n;
    timeout ->
    atomic {
        assert(cause != NO_CAUSE);
        assert(lowest_mine == 0 || (run_build != 0 && run_build <= lowest_mine));
        n = 1;
        do
        :: n <= BUILDS -> assert(!mine(n) || n == run_build || judged[n]); n++
        :: else -> break
        od
    }
}

init {
    atomic {
        request[0] = UNUSED; request[1] = UNUSED; request[2] = UNUSED;
        item[0] = FREE; item[1] = FREE; item[2] = FREE;
        build[0] = ABSENT; build[1] = ABSENT; build[2] = ABSENT; build[3] = ABSENT; build[4] = ABSENT; build[5] = ABSENT;
        pause_over = true;
        run Dispatcher(1); run Dispatcher(2); run Reconciler(); run Environment()
    }
}
