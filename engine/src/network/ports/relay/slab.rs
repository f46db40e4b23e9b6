//! Things by small numbers, which the kernel hands back with events.

/// A number is not given again before [`Slab::settle`]: events that were reported together with the end of a
/// thing still bear its number.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
    left: Vec<usize>,
}

impl<T> Slab<T> {
    pub fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new(), left: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len() - self.left.len()
    }

    /// The number that the next thing gets.
    pub fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.places.len())
    }

    pub fn insert(&mut self, thing: T) -> usize {
        match self.free.pop().and_then(|number| Some((number, self.places.get_mut(number)?))) {
            Some((number, place)) => {
                *place = Some(thing);
                number
            }
            None => {
                self.places.push(Some(thing));
                self.places.len() - 1
            }
        }
    }

    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.places.get_mut(number)?.as_mut()
    }

    pub fn remove(&mut self, number: usize) -> Option<T> {
        let thing = self.places.get_mut(number)?.take();
        if thing.is_some() {
            self.left.push(number);
        }
        thing
    }

    /// All events were seen that numbers of removed things may be in.
    pub fn settle(&mut self) {
        self.free.append(&mut self.left);
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.places.iter().enumerate().filter_map(|(number, thing)| Some((number, thing.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_given_again_only_when_events_are_settled() {
        let mut slab = Slab::new();
        assert_eq!((slab.insert('a'), slab.insert('b'), slab.len()), (0, 1, 2));
        assert_eq!((slab.remove(0), slab.remove(0), slab.next()), (Some('a'), None, 2));
        assert_eq!((slab.insert('c'), slab.len()), (2, 2));
        slab.settle();
        assert_eq!((slab.next(), slab.insert('d'), slab.next()), (0, 0, 3));
        assert_eq!(slab.iter().map(|(_, thing)| *thing).collect::<String>(), "dbc");
    }
}
