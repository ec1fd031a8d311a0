//! A simulated fleet with mail flowing through it, under a clock of its own: rehearsals for staff, and
//! the bench on which planner and executor are tested.
