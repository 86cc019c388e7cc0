/* SPDX-License-Identifier: Apache-2.0
 *
 * The cancel protocol of one extent: host, ring, engine, bus and claimant, with cancels, bus errors, resets and crashes
 * of the host in every order. tools/check_model.py has spin look at every state: no assertion may fail, and nothing may
 * hang. Each of these macros leaves a rule out, and must lead to a failure:
 *
 *   NO_QUIESCENCE        the engine completes a cancelled job while writes of it are still under way
 *   NO_GENERATION        a cancel names a slot only, not which job of the slot
 *   NO_RESET_ON_RESTART  a host that starts after a crash does not wait until the engine is quiet
 *   LEDGER_AFTER_GRANT   the ledger says dirty only after the memory was handed over
 *   GRANT_WHILE_CANCELLING  memory is handed back when its cancel was asked for, not when it was answered
 *   COMPLETION_LOST      the engine forgets the completion of a job that it stopped
 */
#define BURSTS 2 /* of a job */
#ifndef JOBS
#define JOBS 3 /* that the host submits: all through one slot */
#endif

mtype = { Dirty, Scrubbing, Cancelling, Clean, Owned, Quarantined }; /* of the extent */
mtype = { Zeroed, Cancelled, Failed };                               /* outcomes */

/* The ring and the registers. */
chan submission = [1] of { byte };               /* generation */
chan completion = [1] of { byte, mtype, byte };  /* generation, outcome, bursts acknowledged */
chan cancel = [1] of { byte };                   /* generation; a write on its way */
byte cancelled = 0;                              /* the cancel table's entry of the slot */
bool reset = false;                              /* asked for by the host, taken back by the engine when it is quiet */

/* The bus. */
chan write = [BURSTS] of { byte };
chan response = [BURSTS] of { bool };

/* The memory: what each burst's bytes hold. */
#define ZERO 0
#define DATA 1
byte memory[BURSTS];
#define all_zero (memory[0] == ZERO && memory[1] == ZERO)

bool owned = false;         /* somebody uses the memory now: nobody else may write to it */
bool ledger_clean = false;  /* survives a crash */
bool crash = false;
mtype extent = Dirty;

inline use() { /* by whoever it was granted to */
  memory[0] = DATA;
  memory[1] = DATA
}

active proctype Bus() {
  byte burst;
end:
  do
  :: write ? burst ->
     if
     :: atomic { assert(!owned); memory[burst] = ZERO }; response ! true
     :: response ! false
     fi
  od
}

active proctype CancelRegister() {
  byte generation;
end:
  do
  :: cancel ? generation -> cancelled = generation
  od
}

#ifdef NO_GENERATION
#define is_cancelled (cancelled != 0)
#else
#define is_cancelled (cancelled == generation)
#endif

active proctype Engine() {
  byte generation, issued, answered, acknowledged;
  bool ok, failed, stopped;
end:
  do
  :: submission ? generation ->
     issued = 0; answered = 0; acknowledged = 0; failed = false; stopped = false;
     do
     :: !stopped && !failed && issued < BURSTS ->
        if
        :: is_cancelled || reset -> stopped = true
        :: else -> write ! issued; issued++
        fi
     :: response ? ok ->
        answered++;
        if
        :: ok && !failed -> acknowledged++
        :: else -> failed = true
        fi
     :: (stopped || failed || issued == BURSTS) && answered == issued -> break
#ifdef NO_QUIESCENCE
     :: stopped -> break
#endif
     od;
     if
#ifdef COMPLETION_LOST
     :: stopped -> skip
#endif
     :: failed -> completion ! generation, Failed, acknowledged
     :: !failed && acknowledged == BURSTS -> completion ! generation, Zeroed, acknowledged
     :: !failed && acknowledged < BURSTS && !reset -> completion ! generation, Cancelled, acknowledged
     :: !failed && acknowledged < BURSTS && reset -> completion ! generation, Failed, acknowledged
     fi
  :: atomic { reset && empty(submission) -> reset = false }
  od
}

active proctype Host() {
  byte generation = 0; /* of the last job, here as in the device: a restart goes on counting */
  byte got, count;
  mtype outcome;
  memory[0] = DATA;
  memory[1] = DATA;
restart:
  {
end:
    do
    :: extent == Dirty && generation < JOBS -> /* in the background */
       generation++;
       extent = Scrubbing;
       submission ! generation
    :: extent == Scrubbing -> /* a claim from inside the domain */
       cancel ! generation;
       extent = Cancelling
    :: extent == Scrubbing && !reset -> /* it takes too long */
       reset = true;
       extent = Cancelling
#ifdef GRANT_WHILE_CANCELLING
    :: extent == Cancelling -> owned = true; use(); owned = false
#endif
    :: completion ? got, outcome, count ->
       assert(got == generation);                              /* exactly one, and of no other job */
       assert(extent == Scrubbing || extent == Cancelling);
       assert(count == 0 || memory[0] == ZERO);                /* an exact prefix */
       assert(count < BURSTS || all_zero);
       if
       :: outcome == Zeroed -> assert(all_zero); extent = Clean; ledger_clean = true
       :: outcome == Cancelled ->
          assert(extent == Cancelling);                        /* nobody else's cancel */
          extent = Dirty
       :: outcome == Failed -> extent = Quarantined
       fi
    :: extent == Dirty -> /* granted as it is, inside the domain */
       extent = Owned;
       owned = true;
       use();
       owned = false;
       extent = Dirty
    :: extent == Clean -> /* granted to a stranger */
       assert(all_zero);
#ifdef LEDGER_AFTER_GRANT
       owned = true;
       use();
       owned = false;
       ledger_clean = false;
#else
       ledger_clean = false;
       owned = true;
       use();
       owned = false;
#endif
       extent = Dirty
    od
  } unless { crash };
  /* The books are lost, and who held the memory is gone. */
  crash = false;
  owned = false;
#ifndef NO_RESET_ON_RESTART
  reset = true;
  do
  :: completion ? got, outcome, count
  :: !reset && empty(completion) && empty(submission) -> break
  od;
#endif
  if
  :: ledger_clean -> extent = Clean
  :: else -> extent = Dirty
  fi;
  goto restart
}

/* The crash comes at any time, once. Then: when nothing can happen any more, nobody waits. */
active proctype Fate() {
  if
  :: crash = true
  :: skip
  fi;
end:
  timeout -> assert(extent != Scrubbing && extent != Cancelling)
}
