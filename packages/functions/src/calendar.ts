// Hours, days, weeks and months in UTC as numbers: two times are of the same day if its number is the same. Weeks begin on Monday.

/** How a calendar cuts time. */
export type CalendarUnit = "hourly" | "daily" | "weekly" | "monthly";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** The day of the epoch was a Thursday. */
const daysToMonday = 3;

/** The number of the hour, day, week or month that a time lies in; later ones are higher. */
export function calendarNumber(unit: CalendarUnit, ms: number): number {
  switch (unit) {
    case "hourly":
      return Math.floor(ms / hourMs);
    case "daily":
      return Math.floor(ms / dayMs);
    case "weekly":
      return Math.floor((Math.floor(ms / dayMs) + daysToMonday) / 7);
    case "monthly": {
      const date = new Date(ms);
      return date.getUTCFullYear() * 12 + date.getUTCMonth();
    }
  }
}
