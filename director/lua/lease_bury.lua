-- Declares an incarnation dead: proven, or at its own word (an orderly release).
-- KEYS[1] {hall}:meta
-- ARGV[1] a new generation's name and the settle time
-- ARGV[2] NODE, ARGV[3] its incarnation
-- ARGV[4] why
-- Answers 1 if that incarnation held the lease, else 0.
generation()
local was_held = holder_of(ARGV[2]) == ARGV[3]
if not is_dead(ARGV[2], ARGV[3]) then
  bury(ARGV[2], ARGV[3], ARGV[4])
end
return was_held and 1 or 0
