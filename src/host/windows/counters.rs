//! Windows' performance counters, by their English names whatever the system's language is.
#![expect(unsafe_code, reason = "the system answers through C functions only")]

use std::ptr;

use windows_sys::Win32::System::Performance::{
    PDH_FMT_COUNTERVALUE_ITEM_W, PDH_FMT_LARGE, PDH_HCOUNTER, PDH_HQUERY, PDH_MORE_DATA, PdhAddEnglishCounterW,
    PdhCloseQuery, PdhCollectQueryData, PdhGetFormattedCounterArrayW, PdhOpenQueryW,
};

/// Every instance of a counter with its value now; none where there is no such counter.
pub(in crate::host) fn instances(object: &str, counter: &str) -> Option<Vec<(String, i64)>> {
    let query = Query::open()?;
    let path: Vec<u16> = format!(r"\{object}(*)\{counter}").encode_utf16().chain([0]).collect();
    let mut handle: PDH_HCOUNTER = ptr::null_mut();
    // SAFETY: the query is open, the path ends with a zero, and `handle` is written on success only.
    if unsafe { PdhAddEnglishCounterW(query.0, path.as_ptr(), 0, &raw mut handle) } != 0 {
        return None;
    }
    // SAFETY: the query is open.
    if unsafe { PdhCollectQueryData(query.0) } != 0 {
        return None;
    }
    let (mut size_bytes, mut count) = (0_u32, 0_u32);
    // SAFETY: without a buffer the sizes are only asked for.
    let asked = unsafe {
        PdhGetFormattedCounterArrayW(handle, PDH_FMT_LARGE, &raw mut size_bytes, &raw mut count, ptr::null_mut())
    };
    if asked != PDH_MORE_DATA {
        return None;
    }
    // Items come first, the texts that they point to behind them; elements of the item's own type are aligned for it.
    let item = size_of::<PDH_FMT_COUNTERVALUE_ITEM_W>();
    let mut items = vec![PDH_FMT_COUNTERVALUE_ITEM_W::default(); (size_bytes as usize).div_ceil(item)];
    // SAFETY: the buffer holds `size_bytes` bytes.
    let filled = unsafe {
        PdhGetFormattedCounterArrayW(handle, PDH_FMT_LARGE, &raw mut size_bytes, &raw mut count, items.as_mut_ptr())
    };
    if filled != 0 {
        return None;
    }
    let named = items.iter().take(count as usize).filter(|item| !item.szName.is_null());
    // SAFETY: each name points into `items` and ends with a zero; with `PDH_FMT_LARGE` the large value is the one that is set.
    Some(named.map(|item| unsafe { (text(item.szName), item.FmtValue.Anonymous.largeValue) }).collect())
}

/// # Safety
/// `text` points to UTF-16 that ends with a zero.
unsafe fn text(text: *const u16) -> String {
    // SAFETY: as the caller promises.
    let length = (0..).take_while(|&at| unsafe { *text.add(at) } != 0).count();
    // SAFETY: these units were just read.
    String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, length) })
}

struct Query(PDH_HQUERY);

impl Query {
    fn open() -> Option<Self> {
        let mut query: PDH_HQUERY = ptr::null_mut();
        // SAFETY: null means the live system; `query` is written on success only.
        let code = unsafe { PdhOpenQueryW(ptr::null(), 0, &raw mut query) };
        (code == 0).then_some(Self(query))
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed once, with its counters.
        unsafe { PdhCloseQuery(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_does_not_exist_has_no_instances() {
        assert_eq!(instances("No Such Object", "No Such Counter"), None);
    }
}
