/* Certainty: one run that Jenkins has accepted, its build, reports true and forged, and two readers.
 *
 * Checked exhaustively by `make model` (docs/models/README.md):
 *   P7  a report alone makes no end certain; CONFIRMED is what Jenkins has; a build that Jenkins has not shown
 *       decides nothing for good.
 *   P2  whatever the order of reports and reads: where nothing can happen any more, the run shows what Jenkins has.
 *   DISPROVED: a true report is not withdrawn while its end holds; a withdrawn end doesn't come back by itself.
 *   UNVERIFIABLE and NO_SUCH_BUILD are concluded only of what Jenkins doesn't have.
 *
 * A rule of the code is removed by defining its WITHOUT_ name; the checker must then find a trace.
 *
 * Time is abstract. A read is `older` if a report was committed after it began, by the database's clock. */

#define REAL 1    /* the number of the run's build */
#define FORGED 2  /* a number that is never issued; only forged reports name it */
#define REPORTS 2 /* forged reports; Jenkins sends two true ones */

/* ENDING: building is false, inProgress is true, the result is set and not yet saved. */
mtype:build = { ABSENT, RUNNING, ENDING, DONE, GONE };
mtype:result = { NO_RESULT, SUCCESS, FAILURE };
mtype:certainty = { OPEN, REPORTED, CONFIRMED, UNVERIFIABLE };

/* ---- Jenkins ---- */
mtype:build build = ABSENT;
mtype:result result = NO_RESULT;
bool killed, resumed, long_build;
bool restarted; /* since a read showed an unsaved result */
byte stale_replica; /* 1: a replica of the controller answers 404 for a moment; 2: that is used up */

/* ---- The run, as stored ---- */
byte number;   /* its build's, 0: none yet */
bool shown;    /* an answer of Jenkins named the number; otherwise it is provisional */
mtype:result by_step = NO_RESULT, by_plugin = NO_RESULT; /* reported ends that are not withdrawn, by authority */
mtype:result unsaved = NO_RESULT;  /* unsaved_result: a read showed it with inProgress:true */
mtype:result read_end = NO_RESULT; /* a read showed this end */
mtype:certainty certainty = OPEN;
mtype:build absent_once = DONE; /* ABSENT, GONE: what a first probe found instead of the number; DONE: no probe yet */
bool refresh = true, pause_over = true;

/* ---- Ghosts ---- */
bool step_true, plugin_true; /* the stored report is Jenkins' own */
byte sent_true, forgeries;

/* The two readers: a read that is under way. */
bool reading[3], older[3];
bool early[3]; /* it began before the first probe, or before the build was last shown: it proves no absence */
mtype:build view[3];
mtype:result view_result[3];

#define reported (by_plugin != NO_RESULT -> by_plugin : by_step)

inline withdraw() {
    if
    :: by_step != NO_RESULT || by_plugin != NO_RESULT -> printf("service: DISPROVED, the reported end is withdrawn\n")
    :: else
    fi;
    /* A true report holds unless the build was resumed after it. */
    assert((!step_true && !plugin_true) || resumed);
#ifdef WITHOUT_WITHDRAWING_ALL
    if
    :: by_plugin != NO_RESULT -> by_plugin = NO_RESULT
    :: else -> by_step = NO_RESULT
    fi;
#else
    by_step = NO_RESULT; by_plugin = NO_RESULT;
#endif
    step_true = false; plugin_true = false; 
    certainty = (reported != NO_RESULT -> REPORTED : (certainty == UNVERIFIABLE && early[me] -> UNVERIFIABLE : OPEN));
    assert(reported == NO_RESULT) /* it doesn't come back by itself */
}

/* A report of an end is committed. It causes a read that begins after this commit. */
inline report(n, r, plugin, is_true) {
    if
    :: is_true -> printf("report of build %d: ", n)
    :: else -> printf("forged report of build %d: ", n)
    fi;
    if
    :: r == SUCCESS -> printf("SUCCESS\n")
    :: else -> printf("FAILURE\n")
    fi;
    refresh = true;
    if
    :: certainty == CONFIRMED || (number != 0 && number != n) -> printf("service: it changes nothing\n")
    :: else ->
        if
        :: number == 0 -> number = n; shown = false; absent_once = DONE
        :: else
        fi;
        if
        :: plugin -> by_plugin = r; plugin_true = is_true
        :: else -> by_step = r; step_true = is_true
        fi;
#ifdef WITHOUT_BEGIN_AFTER_COMMIT
        skip;
#else
        older[1] = reading[1]; older[2] = reading[2];
#endif
        if
        :: certainty == OPEN -> certainty = REPORTED; printf("service: the run shows it, REPORTED\n")
        :: else
        fi;
#ifdef WITHOUT_READ
        if
        :: plugin -> certainty = CONFIRMED; read_end = r; printf("service: CONFIRMED by FINALIZED\n")
        :: else
        fi;
#endif
        assert(certainty != CONFIRMED) /* P7 */
    fi
}

inline confirm(r) {
    read_end = r; certainty = CONFIRMED; by_step = NO_RESULT; by_plugin = NO_RESULT;
    step_true = false; plugin_true = false; absent_once = DONE;
    printf("service: %e, CONFIRMED\n", read_end);
    assert(result == read_end && build != RUNNING); /* P7 */
    unsaved = NO_RESULT
}

/* Jenkins doesn't have the number that was asked for. */
inline absent(n) {
    if
    :: early[me] || older[me] -> printf("service: the read began too early to prove an absence\n"); refresh = true
#ifndef WITHOUT_SECOND_PROBE_OF_ABSENCE
    :: !early[me] && !older[me] && absent_once != view[me] ->
        absent_once = view[me]; early[1] = reading[1]; early[2] = reading[2]; pause_over = false; refresh = true;
        printf("service: build %d is absent (first probe)\n", n)
#endif
    :: else ->
        absent_once = DONE;
        if
#ifdef WITHOUT_SAME_START
        :: unsaved != NO_RESULT -> confirm(unsaved)
        :: unsaved == NO_RESULT &&
#else
        /* It was seen to have ended, and is gone: discarded, unless Jenkins was restarted in between. */
        :: unsaved != NO_RESULT && !restarted -> confirm(unsaved)
        :: (unsaved == NO_RESULT || restarted) &&
#endif
            (n == FORGED || view[me] == ABSENT) ->
            /* Not below nextBuildNumber. */
            printf("service: NO_SUCH_BUILD %d, the run has no build yet\n", n);
                        withdraw(); number = 0;
            refresh = true
        :: else ->
            certainty = UNVERIFIABLE; early[1] = reading[1]; early[2] = reading[2];
            printf("service: UNVERIFIABLE\n");
            assert(build == GONE)
        fi
    fi
}

proctype Reader(byte me) {
end_loop:
    do
    :: atomic {
        /* Begin: by a request, or by the reconciler's cycle as long as the run is not settled. */
        refresh && pause_over && certainty != CONFIRMED ->
        refresh = false; reading[me] = true; older[me] = false; early[me] = false;
        /* Jenkins answers, as early as it can: the older an answer, the worse. */
        view[me] = (stale_replica == 1 -> GONE : build); view_result[me] = result;
        printf("reader %d begins; Jenkins answers: %e %e\n", me, view[me], view_result[me]) }
        atomic {
            /* Commit. */
            if
            :: view[me] != GONE && view[me] != ABSENT -> early[1] = reading[1]; early[2] = reading[2]
            :: else
            fi;
            if
            :: certainty == CONFIRMED -> skip
#ifdef WITHOUT_PROVISIONAL
            :: certainty != CONFIRMED && number == FORGED -> printf("service: build %d is not shown\n", FORGED)
            :: certainty != CONFIRMED && number != FORGED && view[me] != GONE && view[me] != ABSENT && !shown ->
#else
            :: certainty != CONFIRMED && view[me] != GONE && view[me] != ABSENT && !(number == REAL && shown) ->
#endif
                if
                :: number == FORGED -> printf("service: build %d is the run's, not %d\n", REAL, FORGED); withdraw()
                :: else
                fi;
                number = REAL; shown = true; absent_once = DONE; refresh = true; printf("service: Jenkins has shown build %d\n", REAL)
            :: certainty != CONFIRMED && (view[me] == GONE || view[me] == ABSENT) && number == 0 -> skip
            :: certainty != CONFIRMED && (view[me] == GONE || view[me] == ABSENT) && number != 0 -> absent(number)
            :: certainty != CONFIRMED && view[me] == RUNNING && number == REAL && shown ->
                absent_once = DONE;
                if
                :: older[me] -> refresh = true; printf("service: the read began before the report was committed; it withdraws nothing\n")
                :: else -> unsaved = NO_RESULT; withdraw()
                fi
            :: certainty != CONFIRMED && view[me] == ENDING && number == REAL && shown ->
#ifdef WITHOUT_IN_PROGRESS
                confirm(view_result[me])
#else
                absent_once = DONE; unsaved = view_result[me]; restarted = false;
                printf("service: not saved yet, neither confirmed nor withdrawn\n")
#endif
            :: certainty != CONFIRMED && view[me] == DONE && number == REAL && shown -> confirm(view_result[me])
            :: else
            fi;
            /* The reconciler's next cycle. */
            refresh = (refresh || (certainty != CONFIRMED && view[me] != build));
            reading[me] = false; older[me] = false; early[me] = false; view[me] = ABSENT; view_result[me] = NO_RESULT }
    od
}

proctype Environment() {
end_loop:
    do
    /* ---- Jenkins ---- */
    :: atomic { build == ABSENT -> build = RUNNING; refresh = true; printf("Jenkins: build %d runs\n", REAL) }
    :: atomic { build == RUNNING && !long_build -> long_build = true; printf("the build goes on for long\n") }
    :: atomic {
        build == RUNNING && !long_build -> build = ENDING; refresh = true;
        if
        :: result = SUCCESS
        :: result = FAILURE
        fi;
        printf("Jenkins: building:false, inProgress:true, %e\n", result) }
    :: atomic { build == ENDING -> build = DONE; refresh = true; printf("Jenkins: the build is saved as %e\n", result) }
    :: atomic {
        (build == RUNNING || build == ENDING) && !killed && stale_replica != 1 &&
        view[1] != ENDING && view[2] != ENDING -> killed = true; restarted = true; refresh = true;
        if
        :: build = GONE; printf("Jenkins is killed; the build is gone\n")
        :: build = RUNNING; resumed = true; result = NO_RESULT; printf("Jenkins is killed; the Pipeline resumes\n")
        fi }
    :: atomic { build == DONE && certainty != CONFIRMED -> build = GONE; refresh = true; printf("Jenkins discards the build\n") }
    :: atomic { stale_replica == 0 && build == RUNNING -> stale_replica = 1; refresh = true; printf("Jenkins: another replica answers 404 for a moment\n") }
    :: atomic {
        !pause_over -> pause_over = true; stale_replica = (stale_replica == 1 -> 2 : stale_replica);
        printf("clock: the pause between two probes ends\n") }
    :: atomic { stale_replica == 1 && !reading[1] && !reading[2] -> stale_replica = 2; refresh = true }

    /* ---- Reports ---- */
    :: atomic { (build == ENDING || build == DONE) && sent_true < 2 -> sent_true++; report(REAL, result, sent_true == 2, true) }
    :: atomic { forgeries < REPORTS -> forgeries++; report(REAL, FAILURE, false, false) }
    :: atomic { forgeries < REPORTS -> forgeries++; report(REAL, FAILURE, true, false) }
    :: atomic { forgeries < REPORTS -> forgeries++; report(FORGED, SUCCESS, true, false) }
    od
}

/* Where nothing can happen any more, every read that is due has been made: the run shows what Jenkins has. */
active proctype Quiet() {
    timeout ->
    atomic {
        assert(!(build == DONE) || (certainty == CONFIRMED && read_end == result));
        assert(!(build == RUNNING) || (certainty == OPEN && number == REAL));
        assert(!(build == GONE) || certainty == CONFIRMED || certainty == UNVERIFIABLE || number == 0)
    }
}

init { atomic { run Reader(1); run Reader(2); run Environment() } }
